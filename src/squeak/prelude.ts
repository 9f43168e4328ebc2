/**
 * What a patched image evaluates before the user's script. It defines the classes that the VM's FFI plugin needs, where
 * the image has none. A script makes callouts, prints and ends by class Turnkey. Smalltalk of Squeak 2 to 4.
 *
 * The VM's first argument names the file with this text, the second the script. Nothing here may open a window: without
 * a display the VM would wait for ever.
 */

/** A class that is made unless the image has it. */
interface ClassDefinition {
  readonly name: string;
  readonly superclass: string;
  readonly variables?: string;
  readonly ofBytes?: boolean;
}

/** In the order of the special objects array, from its slot 44 (counted from 1), as the VM expects them. */
const SPECIAL_CLASSES = [
  'ExternalAddress',
  'ExternalStructure',
  'ExternalData',
  'ExternalFunction',
  'ExternalLibrary',
] as const;
const FIRST_SPECIAL_SLOT = 44;

const FFI_CLASSES: readonly ClassDefinition[] = [
  { name: 'ExternalObject', superclass: 'Object', variables: 'handle' },
  { name: 'ExternalFunction', superclass: 'ExternalObject', variables: 'flags argTypes' },
  { name: 'ExternalLibraryFunction', superclass: 'ExternalFunction', variables: 'name module' },
  { name: 'ExternalLibrary', superclass: 'ExternalObject', variables: 'name' },
  { name: 'ExternalStructure', superclass: 'ExternalObject' },
  { name: 'ExternalData', superclass: 'ExternalStructure', variables: 'type' },
  { name: 'ExternalType', superclass: 'Object', variables: 'compiledSpec referentClass referencedType pointerSize' },
  { name: 'ExternalAddress', superclass: 'ByteArray', ofBytes: true },
];
const OWN_CLASSES: readonly ClassDefinition[] = [
  { name: 'TurnkeyStructure', superclass: 'ExternalStructure' },
  { name: 'Turnkey', superclass: 'Object' },
];

interface MethodDefinition {
  /** 'Name' for methods of instances, 'Name class' for those of the class. */
  readonly owner: string;
  readonly source: string;
}

const PRIMITIVE = (name: string): string => `<primitive: '${name}' module: 'SqueakFFIPrims'>`;

const FFI_METHODS: readonly MethodDefinition[] = [
  {
    owner: 'ExternalFunction',
    source: `invokeWithArguments: arguments
	${PRIMITIVE('primitiveCalloutWithArgs')}
	^Turnkey`,
  },
  {
    owner: 'ByteArray',
    source: `integerAt: offset size: bytes signed: isSigned
	${PRIMITIVE('primitiveFFIIntegerAt')}
	^Turnkey failed`,
  },
  {
    owner: 'ByteArray',
    source: `integerAt: offset put: value size: bytes signed: isSigned
	${PRIMITIVE('primitiveFFIIntegerAtPut')}
	^Turnkey failed`,
  },
  {
    owner: 'ByteArray',
    source: `doubleAt: offset
	${PRIMITIVE('primitiveFFIDoubleAt')}
	^Turnkey failed`,
  },
  {
    owner: 'ByteArray',
    source: `doubleAt: offset put: value
	${PRIMITIVE('primitiveFFIDoubleAtPut')}
	^Turnkey failed`,
  },
  {
    owner: 'ByteArray',
    source: `floatAt: offset
	${PRIMITIVE('primitiveFFIFloatAt')}
	^Turnkey failed`,
  },
  {
    owner: 'ByteArray',
    source: `floatAt: offset put: value
	${PRIMITIVE('primitiveFFIFloatAtPut')}
	^Turnkey failed`,
  },
  {
    owner: 'ExternalAddress class',
    source: `allocate: bytes
	${PRIMITIVE('primitiveFFIAllocate')}
	^Turnkey failed`,
  },
  {
    owner: 'ExternalAddress',
    source: `free
	${PRIMITIVE('primitiveFFIFree')}
	^Turnkey failed`,
  },
];

/** By which class Turnkey takes a compiler's complaints: compiled before all others. */
const REPORTING_METHODS: readonly string[] = [
  `standardFiles
	<primitive: 'primitiveFileStdioHandles' module: 'FilePlugin'>
	^nil`,
  `write: aString to: number
	| text files |
	text := aString copy.
	text replaceAll: Character cr with: (Character value: 10).
	files := self standardFiles.
	files == nil ifTrue: [^self].
	StandardFileStream basicNew
		primWrite: (files at: number) from: text startingAt: 1 count: text size.
	self flush: (files at: number)`,
  `flush: file
	<primitive: 'primitiveFileFlush' module: 'FilePlugin'>
	^nil`,
  `quit
	<primitive: 113>
	^nil`,
  `exit: code
	<primitive: 'primitiveTurnkeyExit' module: 'SqueakFFIPrims'>
	^self quit`,
  `notify: message at: position in: stream
	"From the compiler, which would open a window."
	self write: 'syntax error at character ', position printString, ': ', message to: 3.
	self write: (String with: Character cr) to: 3.
	self exit: 1`,
  `selectionInterval
	^1 to: 0`,
  `isKindOf: aClass
	"The compiler asks no user about an unknown name if a SyntaxError has asked it."
	^(super isKindOf: aClass) or: [aClass name = #SyntaxError]`,
];

/** Class Turnkey. A type is named by a String: 'int', 'double', 'char*', …; the result's type comes first. */
const OWN_METHODS: readonly string[] = [
  `lastFault
	"nil, or an Array: errorName, errorCode (the signal), pc, address, access, key, function, text,
	code (SEGV_PKUERR, say), the module that pc lies in"
	${PRIMITIVE('primitiveTurnkeyLastFault')}
	^nil`,
  `lastPluginError
	${PRIMITIVE('primitiveFFIGetLastError')}
	^0`,
  `failure
	"Why the last callout failed, as a String."
	| fault |
	fault := self lastFault.
	^fault == nil
		ifTrue: ['the FFI plugin refused the callout (its error ', self lastPluginError printString, ')']
		ifFalse: [fault at: 8]`,
  `failed
	^self error: self failure`,
  `names
	^#('void' 'bool' 'byte' 'sbyte' 'ushort' 'short' 'uint' 'int'
		'ulonglong' 'longlong' 'uchar' 'char' 'float' 'double')`,
  `sizes
	^#(0 1 1 1 2 2 4 4 8 8 1 1 4 8)`,
  `wordFor: typeName
	"A type's word: 4 bits of atomic type, flags, 16 bits of size."
	| isPointer index base |
	isPointer := typeName last = $*.
	base := isPointer ifTrue: [typeName copyFrom: 1 to: typeName size - 1] ifFalse: [typeName].
	index := self names indexOf: base.
	index = 0 ifTrue: [^self error: 'there is no type ', typeName].
	^isPointer
		ifTrue: [(index - 1 bitShift: 24) + 16r60004]
		ifFalse: [(index - 1 bitShift: 24) + 16r40000 + (self sizes at: index)]`,
  `type: nameOrType
	(nameOrType isKindOf: String) ifFalse: [^nameOrType].
	^(Smalltalk at: #ExternalType) basicNew
		instVarAt: 1 put: (Bitmap with: (self wordFor: nameOrType));
		yourself`,
  `structure: names
	"The type of a structure with these members, laid out as C does."
	| words end widest size |
	end := 0.
	widest := 1.
	words := OrderedCollection new.
	names do: [:each |
		size := each last = $* ifTrue: [4] ifFalse: [self sizes at: (self names indexOf: each)].
		end := end + size - 1 // size * size + size.
		widest := widest max: size.
		words add: (self wordFor: each)].
	end := end + widest - 1 // widest * widest.
	words addFirst: 16r10000 + end.
	^(Smalltalk at: #ExternalType) basicNew
		instVarAt: 1 put: (Bitmap withAll: words asArray);
		instVarAt: 2 put: TurnkeyStructure;
		yourself`,
  `function: functionName in: library types: types
	^(Smalltalk at: #ExternalLibraryFunction) basicNew
		instVarAt: 1 put: ((Smalltalk at: #ExternalAddress) new: 4);
		instVarAt: 2 put: 0;
		instVarAt: 3 put: (types collect: [:each | self type: each]);
		instVarAt: 4 put: functionName;
		instVarAt: 5 put: library;
		yourself`,
  `call: function with: arguments ifFailed: aBlock
	"aBlock gets the reason, a String."
	| answer |
	answer := function invokeWithArguments: arguments.
	^answer == Turnkey ifTrue: [aBlock value: self failure] ifFalse: [answer]`,
  `call: functionName in: library types: types with: arguments ifFailed: aBlock
	^self call: (self function: functionName in: library types: types) with: arguments ifFailed: aBlock`,
  `call: functionName in: library types: types with: arguments
	^self call: functionName in: library types: types with: arguments ifFailed: [:why | self error: why]`,
  `print: aString
	self write: aString , (String with: Character cr) to: 2`,
  `attribute: index
	^((Smalltalk respondsTo: #getSystemAttribute:)
		ifTrue: [Smalltalk]
		ifFalse: [(Smalltalk at: #SmalltalkImage) current]) getSystemAttribute: index`,
  `argument: index
	"The script's own arguments, from 1; nil behind the last."
	^self attribute: index + 3`,
  `addressOf: anObject
	"Of its first byte, until the next collection."
	<primitive: 'primitiveTurnkeyAddress' module: 'SqueakFFIPrims'>
	^self failed`,
  `imageName: path
	<primitive: 121>
	^self error: 'the image cannot be named so'`,
  `snapshot
	<primitive: 97>
	^self error: 'the image cannot be saved'`,
  `saveImageAs: path
	"Saves the image as it is. A VM that starts with it goes on behind this call, with the answer true."
	self imageName: path.
	^self snapshot == true`,
  `run: path
	"Evaluates a script and ends: with 0, or with 1 after an error that the script left to us."
	[Compiler new
		evaluate: (FileStream readOnlyFileNamed: path) contentsOfEntireFile
		in: nil
		to: nil
		notifying: self
		ifFail: [self exit: 1]]
		ifError: [:message :receiver |
			self write: 'error: ', message, ' (receiver: ', receiver printString, ')' to: 3.
			self write: (String with: Character cr) to: 3.
			self exit: 1].
	self exit: 0`,
];

const quote = (source: string): string => `'${source.replaceAll("'", "''")}'`;

function define({ name, superclass, variables = '', ofBytes = false }: ClassDefinition): string {
  const message = ofBytes ? 'variableByteSubclass' : 'subclass';
  return (
    `(Smalltalk includesKey: #${name}) ifFalse: [(Smalltalk at: #${superclass}) ${message}: #${name}\n` +
    `\tinstanceVariableNames: '${variables}' classVariableNames: '' poolDictionaries: '' category: 'Turnkey']`
  );
}

/** A complaint about the source goes to class Turnkey; without a requestor it opens a window. */
const compile = ({ owner, source }: MethodDefinition): string => {
  const [name = '', side = ''] = owner.split(' ');
  return `(Smalltalk at: #${name}) ${side} compile: ${quote(source)} classified: 'Turnkey' notifying: Turnkey`;
};

/** Each evaluated for itself: a method of Squeak's early compilers has no more than 64 literals. */
const statements = (): readonly string[] => [
  '((Smalltalk at: #Utilities ifAbsent: [nil]) respondsTo: #setAuthorInitials:)\n' +
    "\tifTrue: [(Smalltalk at: #Utilities) setAuthorInitials: 'tk']",
  ...FFI_CLASSES.map(define),
  ...OWN_CLASSES.map(define),
  ...SPECIAL_CLASSES.map(
    (name, index) => `Smalltalk specialObjectsArray at: ${FIRST_SPECIAL_SLOT + index} put: (Smalltalk at: #${name})`,
  ),
  ...REPORTING_METHODS.map((source) => `Turnkey class compile: ${quote(source)} classified: 'Turnkey'`),
  ...FFI_METHODS.map(compile),
  ...OWN_METHODS.map((source) => compile({ owner: 'Turnkey class', source })),
  '[Turnkey run: (Turnkey attribute: 3)] ifError: [:message :receiver | Turnkey write: message to: 3. Turnkey exit: 1]',
];

/** The text. It ends the VM, after the script or without it. */
export function prelude(): string {
  return (
    '"Made by turnkey: FFI classes, class Turnkey, then the script that the VM\'s second argument names."\n' +
    `#(\n${statements().map(quote).join('\n')}\n) do: [:each | Compiler evaluate: each]\n`
  );
}
