package diff_test

import (
	"os"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/latchwork/latchwork/emulator/datastore/difftest/diff"
)

// The document says what the table says.
func TestDocument(t *testing.T) {
	written, err := os.ReadFile("../../../../docs/datastore-differences.md")
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(diff.Markdown(diff.Justified()), string(written)); d != "" {
		t.Errorf("docs/datastore-differences.md isn't the table; write it again with `%s` (-table +file):\n%s", diff.Regenerate, d)
	}
}
