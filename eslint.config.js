// What `npm run lint` holds of TypeScript and JavaScript. Layout is prettier's: no rule here touches it, but for the
// length of lines that prettier cannot break (strings, comments).

import js from '@eslint/js';
import imports from 'eslint-plugin-simple-import-sort';
import tseslint from 'typescript-eslint';

/** Node's own modules, then packages, then the project's, the farthest first. */
const IMPORT_GROUPS = [
  [String.raw`^\u0000`],
  [String.raw`^node:`],
  [String.raw`^@?\w`],
  [String.raw`^\.\.`, String.raw`^\.`],
];

export default tseslint.config(
  { ignores: ['build*/', 'dist/', 'node_modules/', 'coverage/', '.tap/', 'results/', 'prebuilds/'] },
  { linterOptions: { reportUnusedDisableDirectives: 'error', reportUnusedInlineConfigs: 'error' } },
  js.configs.recommended,
  tseslint.configs.strictTypeChecked,
  tseslint.configs.stylisticTypeChecked,
  {
    languageOptions: {
      parserOptions: { projectService: true, tsconfigRootDir: import.meta.dirname },
    },
    plugins: { imports },
    rules: {
      // ---- one way to write each thing
      'imports/imports': ['error', { groups: IMPORT_GROUPS }],
      'imports/exports': 'error',
      'arrow-body-style': ['error', 'as-needed'],
      'func-style': ['error', 'declaration', { allowArrowFunctions: true }],
      'object-shorthand': ['error', 'always', { avoidExplicitReturnArrows: true }],
      'prefer-arrow-callback': 'error',
      eqeqeq: ['error', 'always', { null: 'ignore' }],
      'no-restricted-syntax': [
        'error',
        { selector: 'ExportDefaultDeclaration', message: 'Exports have names.' },
        {
          selector: ':matches(PropertyDefinition, MethodDefinition)[accessibility="private"][kind!="constructor"]',
          message: 'Use #private.',
        },
        { selector: 'TSParameterProperty[accessibility="private"]', message: 'Use #private.' },
      ],
      '@typescript-eslint/consistent-type-imports': [
        'error',
        { fixStyle: 'inline-type-imports', disallowTypeAnnotations: false },
      ],
      '@typescript-eslint/consistent-type-exports': 'error',
      '@typescript-eslint/explicit-module-boundary-types': 'error',
      '@typescript-eslint/prefer-readonly': 'error',
      '@typescript-eslint/switch-exhaustiveness-check': ['error', { considerDefaultExhaustiveForUnions: true }],
      // ---- what hides mistakes
      '@typescript-eslint/no-shadow': 'error',
      '@typescript-eslint/return-await': ['error', 'error-handling-correctness-only'],
      '@typescript-eslint/no-unused-vars': [
        'error',
        {
          args: 'all',
          argsIgnorePattern: '^_',
          caughtErrors: 'none',
          ignoreRestSiblings: true, // a member is left out by naming it beside the rest
        },
      ],
      'max-len': [
        'error',
        {
          code: 120,
          ignoreUrls: true,
          ignoreRegExpLiterals: true, // one line by their nature
          ignorePattern: String.raw`^\s*(//|\*)?\s*(import|export) .* from '`,
        },
      ],
      // ---- what would be wrong here
      // Numbers and booleans are text enough.
      '@typescript-eslint/restrict-template-expressions': ['error', { allowNumber: true, allowBoolean: true }],
      // Koffi's functions take no `this`; and it gives a number, where one is exact, for what its types call a bigint.
      '@typescript-eslint/unbound-method': 'off',
      '@typescript-eslint/no-unnecessary-type-conversion': 'off',
      // Where tsconfig.json asks for brackets, brackets it is.
      '@typescript-eslint/dot-notation': 'off',
      // Which of the two says more differs by line.
      '@typescript-eslint/non-nullable-type-assertion-style': 'off',
      // Strings are broken at 120 columns by hand; and --fix took casts away that the compiler needs.
      '@typescript-eslint/no-unnecessary-template-expression': 'off',
      '@typescript-eslint/no-unnecessary-type-assertion': 'off',
      '@typescript-eslint/no-confusing-void-expression': ['error', { ignoreArrowShorthand: true }],
      // A getter of the prototype costs an error that nobody looks at nothing.
      '@typescript-eslint/class-literal-property-style': 'off',
      // A listener's or a callback's error goes on as it was thrown.
      '@typescript-eslint/only-throw-error': [
        'error',
        { allowThrowingAny: true, allowThrowingUnknown: true, allow: [{ from: 'file', name: 'DecodeFault' }] },
      ],
      '@typescript-eslint/prefer-promise-reject-errors': [
        'error',
        { allowThrowingAny: true, allowThrowingUnknown: true },
      ],
    },
  },
  {
    // Arguments come from JavaScript too: they are checked against what their types rule out.
    files: ['src/image/**', 'src/callout/**'],
    rules: { '@typescript-eslint/no-unnecessary-condition': 'off' },
  },
  {
    files: ['test/**'],
    rules: {
      // tap's t is every test's: the inner hides the outer, and is meant to.
      '@typescript-eslint/no-shadow': ['error', { allow: ['t'] }],
      // tap waits for its tests itself, and ends an async one without t.end().
      '@typescript-eslint/no-floating-promises': [
        'error',
        { allowForKnownSafePromises: [{ from: 'package', package: '@tapjs/core', name: 'PromiseWithSubtest' }] },
      ],
      '@typescript-eslint/require-await': 'off',
      // What a test looks for and does not find fails it.
      '@typescript-eslint/no-non-null-assertion': 'off',
      '@typescript-eslint/no-empty-function': 'off',
      // Koffi's functions return any, and errors of a kind are looked at as such once t.type() has said so.
      '@typescript-eslint/no-unsafe-return': 'off',
      '@typescript-eslint/no-unsafe-class-instance-assignment': 'off',
    },
  },
  {
    // JavaScript with its types in comments.
    files: ['**/*.mjs', '**/*.js'],
    rules: {
      'no-undef': 'off', // tsc's work
      '@typescript-eslint/explicit-module-boundary-types': 'off',
      // An empty variable is one that is not set.
      '@typescript-eslint/prefer-nullish-coalescing': 'off',
      // What is imported from dist/ by a path that is put together, and what JSON holds, has no type.
      '@typescript-eslint/no-unsafe-argument': 'off',
      '@typescript-eslint/no-unsafe-assignment': 'off',
      '@typescript-eslint/no-unsafe-call': 'off',
      '@typescript-eslint/no-unsafe-member-access': 'off',
      '@typescript-eslint/no-unsafe-return': 'off',
    },
  },
  {
    // In no tsconfig.json: generators that run before anything is built, programs that tests run, examples.
    files: [
      'eslint.config.js',
      'native/test/*.mjs',
      'test/data/**/*.mjs',
      'examples/**/*.mjs',
      'experiments/hosts/*/*.mjs',
    ],
    extends: [tseslint.configs.disableTypeChecked],
    languageOptions: { parserOptions: { projectService: false }, globals: { process: 'readonly' } },
    rules: { 'no-restricted-syntax': 'off', '@typescript-eslint/explicit-module-boundary-types': 'off' },
  },
);
