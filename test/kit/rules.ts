/** Rule files as tests write them most often. */

/** Rules with mode proxy (a tunnel, or plain HTTP) for these hosts; ids are the hosts. */
export function allowHosts(...hosts: readonly string[]): string {
  return rulesFile(...hosts.map((host) => `{ id: ${host}, condition: 'http.host == "${host}"', action: allow }`));
}

/** A rule file from rules in YAML's flow style, in their order. */
export function rulesFile(...rules: readonly string[]): string {
  const list = rules.map((rule) => `  - ${rule}\n`).join('');
  return `version: "1"\nrules:\n${list === '' ? '  []\n' : list}`;
}
