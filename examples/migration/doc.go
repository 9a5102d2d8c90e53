// Package migration is the code of docs/migration.md: what calls of App Engine's
// task queue, delay and memcache packages, and of LUCI's memlock and tq, become.
// A test holds the page to it, and runs it.
package migration
