// What gate_mutants.mjs breaks in gate_aarch64_aapcs.S.

/** What is broken: [what, in which part of the file, text, replacement, ...]. The text must occur in that part. */
const FAST = ['\t.macro\tGATE', '\t.endm'], SLOW = ['ENTRY\ttrap_gate_slow', '.size\ttrap_gate_slow'], CALLBACK = ['ENTRY\ttrap_callback_gate', '.cfi_endproc'];
const SAVE = ['\t.macro\tSAVE_ARGUMENTS', '\t.endm'], LOAD = ['\t.macro\tLOAD_ARGUMENTS', '\t.endm'], COPY = ['\t.macro\tCOPY_ARGUMENTS', '\t.endm'];
const KEEP = ['\t.macro\tSAVE_CALLER', '\t.endm'], GIVE = ['\t.macro\tLOAD_CALLER', '\t.endm'], RESULTS = ['\t.macro\tLOAD_RESULTS', '\t.endm'];
const FRAME = ['\t.macro\tCFI_FRAME_X19', '\t.endm'], LANDING = ['ENTRY\ttrap_landing\n', '.cfi_endproc'];
export const mutants = [
  ['fast: x8 is lost', FAST, '\tblr\tx17', '\tmov\tx8, #0\n\tblr\tx17'],
  ['fast: v7 is lost', FAST, '\tblr\tx17', '\tmovi\tv7.2d, #0\n\tblr\tx17'],
  ['fast: stack words lie one too high', FAST, 'str\tq16, [x9, x11]', 'add\tx12, x9, #8\n\tstr\tq16, [x12, x11]'],
  ['fast: the last stack words are not copied', FAST, '1:\tsubs\tx11, x11, #16', '\tcmp\tx11, #16\n\tb.eq\t9f\n1:\tsubs\tx11, x11, #16', 'b.ne\t1b\n', 'b.ne\t1b\n9:\n'],
  ['fast: x1 is lost on the way back', FAST, '2:\tadrp', '2:\tmov\tx1, #0\n\tadrp'],
  ['fast: v3 is lost on the way back', FAST, '2:\tadrp', '2:\tmovi\tv3.2d, #0\n\tadrp'],
  ['fast: not disarmed', FAST, 'str\txzr, [x19, #T_STATE]', ''],
  ['fast: not armed', FAST, 'str\tx16, [x19, #T_STATE]', ''],
  ['fast: a callee that loses x19 is not noticed', FAST, 'tst\tx10, #SLOT_OFFSET_INVALID', 'cmp\tx10, x10'],
  ['fast: a bent stack pointer is not noticed', FAST, '\tcmp\tsp, x10\n\tb.ne\t4f', ''],
  ['fast: its CFI does not know the frame', FAST, '\tmov\tx19, x9\n\tCFI_FRAME_X19', '\tmov\tx19, x9'],
  ['fast: its CFI does not know that all is back', FAST, '\t.cfi_restore_state\n\tret', '\tret'],
  ['keys: what is denied is not taken', FAST, '\tbic\tx14, x14, x13', ''],
  ['keys: the rights of other owners are not kept', FAST, '\torr\tx14, x14, x12', '\tmov\tx14, x12'],
  ['keys: rights are not given back', FAST, '\torr\tx9, x9, x10', ''],
  ['keys: the thread is marked behind the drop of rights', FAST, '\tstr\tx16, [x19, #T_STATE]', '', '\tmsr\tPOR_EL0, x14\n\tisb\n\t.endif', '\tmsr\tPOR_EL0, x14\n\tisb\n\t.endif\n\tstr\tx16, [x19, #T_STATE]'],
  ['keys: the mark goes before rights are back', FAST, '\tmsr\tPOR_EL0, x9', '\tstr\txzr, [x19, #T_STATE]\n\tmsr\tPOR_EL0, x9'],
  ['keys: the landing pad does not open them', ['ENTRY\ttrap_landing_keys', '.cfi_endproc'], '\tmsr\tPOR_EL0, x1', ''],
  ['frame: its CFI has x20 in another place', FRAME, 'CFI_SAVED 19+index, F_X19+8*index', 'CFI_SAVED 19+index, F_X19+8*(index^1)'],
  ['frame: its CFI does not know d8 to d15', FRAME, '.rept\t8', '.rept\t0'],
  ['caller: x25 is not kept', KEEP, 'stp\tx25, x26', 'stp\tx26, x26'],
  ['caller: d13 is not kept', KEEP, 'stp\td12, d13', 'stp\td12, d12'],
  ['caller: x21 is not given back', GIVE, '\tldp\tx21, x22, [x19, #F_X19+16]', ''],
  ['caller: d8 is not given back', GIVE, '\tldp\td8, d9, [x19, #F_D8]', ''],
  ['save: x8', SAVE, 'stp\tx8, x16', 'stp\tx9, x16'],
  ['save: v6', SAVE, 'stp\tq6, q7', 'stp\tq7, q7'],
  ['load: x7', LOAD, 'ldp\tx6, x7', 'ldp\tx6, x9'],
  ['load: v1', LOAD, 'ldp\tq0, q1', 'ldp\tq0, q16'],
  ['results: x1', RESULTS, 'ldp\tx0, x1', 'ldp\tx0, x9'],
  ['results: v2 and v3 change places', RESULTS, 'ldp\tq2, q3', 'ldp\tq3, q2'],
  ['copy: stack words lie one too high', COPY, 'add\tx10, x29, #16', 'add\tx10, x29, #24'],
  ['copy: one pair of stack words too few', COPY, '1:\tsubs', '\tsubs\tx9, \\bytes, #16\n\tb.eq\t2f\n1:\tsubs'],
  ['slow: its CFI does not follow x19', SLOW, '\tmov\tx19, x0\n\tCFI_FRAME_X19', '\tmov\tx19, x0'],
  ['slow: fpcr is not kept', SLOW, '\tmrs\tx9, fpcr\n', '\tmov\tx9, #0\n'],
  ['slow: the stack pointer of the call is not told', SLOW, '\tmov\tx0, x20\n\tbl\ttrap_slow_return', '\tadd\tx0, x20, #16\n\tbl\ttrap_slow_return'],
  ['callback: no stack arguments', CALLBACK, 'COPY_ARGUMENTS x0, x11', ''],
  ['callback: its results are not kept', CALLBACK, '\tLOAD_RESULTS sp, 0', ''],
  ['landing: fpcr is not put back', LANDING, '\tmsr\tfpcr, x9', ''],
  ['landing: fpsr is not put back', LANDING, '\tmsr\tfpsr, x10', ''],
  ['landing: d10 is not put back', LANDING, '\tldp\td10, d11, [x0, #F_D8+16]', ''],
  ['landing: streaming mode stays', LANDING, '\t.inst\t0xd503467f', ''],
  ['landing: results are not zeroed', LANDING, '\tZERO_RESULTS', ''],
];
/** What the tests link besides: the C++ library. */
export const link = ['-lstdc++', '-lm'];
