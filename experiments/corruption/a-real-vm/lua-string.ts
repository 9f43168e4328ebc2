/**
 * A string that was interned and is read later, in a real VM: does the program finish, and with the right answer?
 *
 * Stands for an overrun of a C buffer into the text that a program read before. Strings are shared and never change, so
 * nobody looks again. 16 bytes in the middle of a live string. The Lua host runs programs/ruin.lua, which catches what
 * is raised and goes on. It gives its answer, makes a full collection, walks over its heap and makes further callouts.
 * Varies: mechanism, what the callout loses. Records: the fault or its absence, the bytes changed in Lua's heap, and,
 * in the aftermath, the answer.
 */
import { luaCase } from '../../support/lua.js';

export const experiment = luaCase(
  'string',
  "a Lua string's bytes overwritten: strings are never written to, by anybody",
  ['damaged'],
  'the program goes on with other text, and its answer is wrong',
);
