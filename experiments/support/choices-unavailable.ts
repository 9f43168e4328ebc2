/** Why a choice cannot do a piece of work here. */
export class Unavailable extends Error {}
