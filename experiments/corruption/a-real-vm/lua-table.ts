/**
 * An element of a live table, in a real VM: does the program finish, and with the right answer?
 *
 * Stands for a miscomputed index in a C library that writes one word too far, into a VM's array. 8 bytes, the value of
 * one element.
 * The Lua host runs programs/ruin.lua, which catches what is raised and goes on. It gives its answer, makes a full
 * collection, walks over its heap and makes further callouts.
 * Varies: mechanism, what the callout loses. Records: the fault or its absence, the bytes changed in Lua's heap, and,
 * in the aftermath, the answer.
 */
import { luaCase } from '../../support/lua.js';

export const experiment = luaCase(
  'table',
  "one element of a Lua table's array overwritten",
  ['damaged'],
  'the element has another value, and the answer is wrong',
);
