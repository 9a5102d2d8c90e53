package diff

import (
	"fmt"
	"strings"
)

// Regenerate is the command that writes the document with the table.
const Regenerate = "go run ./emulator/datastore/difftest -table > docs/datastore-differences.md"

// Markdown renders the table as a document.
func Markdown(table []Entry) string {
	var b strings.Builder
	b.WriteString(`# Differences to Google's emulators of Datastore

` + "`make diff-datastore`" + ` sends the same random requests (queries, aggregations, GQL,
mutations, transactions, malformed requests) to our emulator and to both of
Google's. Every difference between the answers is one of those below, or the
program reports it with a minimal script, and it is a bug of ours.

Where sources contradict each other, we follow the first of these that says
something: the comments of the API's proto files and the documentation (docs);
recorded traffic of production; what the integration tests of Google's Go client
expect; the Firestore emulator in Datastore mode (FS); the older Datastore
emulator with ` + "`--firestore_in_datastore_mode`" + ` (DS). The last column names it.

`)
	fmt.Fprintf(&b, "This file is written by `%s`.\n", Regenerate)
	for _, section := range []struct{ of, title, it string }{
		{"FS", "The Firestore emulator in Datastore mode", "it"},
		{"DS", "The older Datastore emulator", "it"},
		{"FS, DS", "Both", "they, or one of them,"},
	} {
		fmt.Fprintf(&b, "\n## %s\n\n| entry | %s | source |\n|---|---|---|\n", section.title, section.it)
		for _, e := range table {
			if e.Of == section.of {
				fmt.Fprintf(&b, "| %s | %s | %s |\n", e.ID, escape(e.Sentence), escape(e.Source))
			}
		}
	}
	return b.String()
}

func escape(cell string) string { return strings.ReplaceAll(cell, "|", `\|`) }
