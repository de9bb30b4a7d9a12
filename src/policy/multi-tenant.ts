/**
 * Hosts where anybody can put and fetch what they like under the same name, so that allowing the host allows anybody.
 * A list of the well-known, for a warning; not complete, and nothing is decided by it.
 */
import type { HostScope } from './host-scope.ts';

const SHARED_HOSTS: ReadonlySet<string> = new Set([
  ...[
    'github.com',
    'api.github.com',
    'gist.github.com',
    'raw.githubusercontent.com',
    'gitlab.com',
    'bitbucket.org',
    'codeberg.org',
  ],
  ...[
    'huggingface.co',
    'pastebin.com',
    's3.amazonaws.com',
    'storage.googleapis.com',
    'docs.google.com',
    'drive.google.com',
  ],
  ...[
    'script.google.com',
    'dropbox.com',
    'www.dropbox.com',
    'discord.com',
    'slack.com',
    'hooks.slack.com',
    'api.telegram.org',
  ],
  ...['hub.docker.com', 'registry-1.docker.io', 'ghcr.io', 'quay.io', 'webhook.site'],
]);

/** Everything below these is some customer's. */
const SHARED_DOMAINS: ReadonlySet<string> = new Set([
  ...[
    'amazonaws.com',
    'cloudfront.net',
    'googleapis.com',
    'googleusercontent.com',
    'appspot.com',
    'run.app',
    'web.app',
  ],
  ...['firebaseapp.com', 'windows.net', 'blob.core.windows.net', 'azurewebsites.net', 'azureedge.net', 'cloudapp.net'],
  ...['herokuapp.com', 'vercel.app', 'netlify.app', 'workers.dev', 'pages.dev', 'r2.dev', 'github.io', 'gitlab.io'],
  ...[
    'githubusercontent.com',
    'github.com',
    'fly.dev',
    'onrender.com',
    'ngrok.io',
    'ngrok-free.app',
    'trycloudflare.com',
  ],
  ...[
    'digitaloceanspaces.com',
    'supabase.co',
    'fastly.net',
    'akamaized.net',
    'cloudflare.net',
    'slack.com',
    'google.com',
  ],
]);

/** The shared host or domain that a scope takes in whole, or undefined. */
export function multiTenant(scope: Exclude<HostScope, 'any'>): string | undefined {
  for (const host of scope.exact) if (SHARED_HOSTS.has(host)) return host;
  for (const name of scope.below) if (SHARED_DOMAINS.has(name)) return `*.${name}`;
  return undefined;
}
