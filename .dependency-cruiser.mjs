/**
 * The layers of ARCHITECTURE.md as a check: a folder of src/ imports only from strictly lower layers, never a
 * sibling of its own layer; a package has one owner. Adding a folder or a package means adding it here.
 */

/** Folders of src/ by layer, lowest first. */
const LAYERS = [
  ['domain'],
  ['wire', 'policy'],
  ['config', 'pki', 'upstream', 'netfilter', 'audit', 'docker'],
  ['proxy', 'dns', 'admin'],
  ['daemon', 'cli'],
];

/** Which folders may import which package. What is not named here may not be imported by src/ at all. */
const OWNERS = {
  '@marcbachmann/cel-js': ['policy'],
  commander: ['daemon', 'cli'],
  dockerode: ['docker'],
  'node-forge': ['pki'],
  pino: ['audit'],
  'quick-lru': ['pki'],
  re2js: ['policy'],
  undici: ['upstream', 'cli'],
  yaml: ['policy'],
  zod: ['policy'],
};

const DOORS = LAYERS[3];

const anyOf = (folders) => `^src/(${folders.join('|')})/`;
const packagePath = (name) => `(^|/)node_modules/(@types/)?${name}/`;

const layerRules = LAYERS.flatMap((folders, level) =>
  folders.map((folder) => {
    const mayImport = [folder, ...LAYERS.slice(0, level).flat()].filter(
      (target) => !(folder === 'cli' && DOORS.includes(target)),
    );
    return {
      name: `layer-${folder}`,
      comment: `src/${folder}/ may import only ${mayImport.join(', ')} (ARCHITECTURE.md).`,
      severity: 'error',
      from: { path: anyOf([folder]) },
      to: { path: '^src/', pathNot: anyOf(mayImport) },
    };
  }),
);

const ownerRules = Object.entries(OWNERS).map(([name, owners]) => ({
  name: `owner-of-${name}`,
  comment: `Only src/${owners.join('/ and src/')}/ may import ${name}.`,
  severity: 'error',
  from: { path: '^src/', pathNot: anyOf(owners) },
  to: { path: packagePath(name) },
}));

const houseRules = [
  {
    name: 'unknown-folder',
    comment: 'Each folder of src/ has a layer; name the new one in .dependency-cruiser.mjs.',
    severity: 'error',
    from: { path: '^src/', pathNot: anyOf(LAYERS.flat()) },
    to: {},
  },
  {
    name: 'unowned-package',
    comment: 'A package that src/ imports has an owner; name it in .dependency-cruiser.mjs.',
    severity: 'error',
    from: { path: '^src/' },
    to: { path: '(^|/)node_modules/', pathNot: Object.keys(OWNERS).map(packagePath) },
  },
  {
    name: 'no-circular',
    comment: 'Data walks through the house in one direction; only types may be known both ways.',
    severity: 'error',
    from: {},
    to: { circular: true, viaOnly: { dependencyTypesNot: ['type-only'] } },
  },
  {
    name: 'not-to-unresolvable',
    comment: 'An import that leads nowhere, or to a package that package.json does not name.',
    severity: 'error',
    from: {},
    to: { couldNotResolve: true },
  },
  {
    name: 'only-cli-drives-docker',
    comment: 'Who has the engine has the host: the daemon never loads what can speak to it.',
    severity: 'error',
    from: { path: '^src/', pathNot: anyOf(['docker', 'cli']) },
    to: { path: anyOf(['docker']) },
  },
  {
    name: 'src-never-imports-tests',
    severity: 'error',
    from: { path: '^src/' },
    to: { path: '^(test|scripts)/' },
  },
];

export default {
  forbidden: [...layerRules, ...ownerRules, ...houseRules],
  options: {
    // TypeScript 7 has no parser that dependency-cruiser can load; without swc it would cruise nothing and pass.
    parser: 'swc',
    tsPreCompilationDeps: true,
    doNotFollow: { path: 'node_modules' },
    enhancedResolveOptions: {
      exportsFields: ['exports'],
      conditionNames: ['import', 'node', 'default', 'types'],
      extensions: ['.ts', '.js', '.mjs', '.json', '.d.ts'],
    },
  },
};
