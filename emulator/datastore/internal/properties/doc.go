// Package properties changes the properties of entities as Datastore's API
// describes it: by masks, which say what a read shows and a write replaces, and
// by transforms, which compute a property of what is stored.
//
// Guarantees: pure functions of their arguments; stored arrays and operands are
// never shared with the result in a way that a later change could show in both;
// the work is bounded, see Budget.
//
// Not guaranteed: that the result is a valid entity. Who calls checks names,
// lengths and nesting.
package properties
