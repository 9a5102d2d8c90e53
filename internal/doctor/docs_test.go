package doctor_test

import (
	"os"
	"regexp"
	"slices"
	"testing"

	"github.com/latchwork/latchwork/internal/doctor"
)

// docs/doctor.md has a line for each check, in the order of the output.
func TestDocumentHasEachCheck(t *testing.T) {
	text, err := os.ReadFile("../../docs/doctor.md")
	if err != nil {
		t.Fatal(err)
	}
	var documented []string
	for _, m := range regexp.MustCompile("(?m)^\\| `([a-z-]+)` \\| [^|]+ \\| [^|]+ \\|$").FindAllSubmatch(text, -1) {
		documented = append(documented, string(m[1]))
	}
	if checks := doctor.Checks(); !slices.Equal(documented, checks) {
		t.Errorf("docs/doctor.md has\n%q\nand there are\n%q", documented, checks)
	}
}
