// Package model answers queries in the plainest way: it goes through all
// entities, writes out every index row, sorts and cuts. The differential
// program asks it when two servers answer differently, with the known mistakes
// of one of them switched on: a difference is explained when the model without
// them says what one server said, and with them what the other did.
//
// Guarantees: nothing of it is shared with the emulator's planner.
package model
