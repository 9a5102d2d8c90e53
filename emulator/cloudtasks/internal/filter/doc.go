// Package filter reads the filters of list calls and says which messages they
// match: a subset of the query language of Cloud Logging, over the fields of any
// protobuf message.
//
//	state: PAUSED
//	name = "projects/p/locations/l/queues/q" OR rateLimits.maxDispatchesPerSecond >= 10
//	NOT (state = (RUNNING OR DISABLED)) AND purge_time:*
//
// A comparison is a field, one of = != < <= > >= : =~ !~, and a value: a word, a
// quoted text, or several in parentheses with OR and AND. Fields are named as
// declared or in camelCase, parts of them after dots. NOT (or -) binds closer
// than OR, and OR closer than AND, which may be left out.
//
// What : means depends on the field: a text holds the value, a number, a time or
// an enum is equal to it, and the value * asks whether the field is there. Texts
// are compared without regard to case, but for =~ and !~, which are regular
// expressions. Of a repeated field one element has to match. != and !~ are the
// opposites of = and =~, for fields that aren't there too.
//
// # Not guaranteed
//
// Words without a field, which Cloud Logging looks for in all fields, are
// refused; so are functions.
//
// # Failure modes
//
// An error says what was expected and at which byte of the filter. Filters are
// at most MaxLength bytes long and MaxDepth parentheses deep.
package filter
