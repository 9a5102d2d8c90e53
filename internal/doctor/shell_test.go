package doctor

import "testing"

// What is pasted into a shell is one word, whatever is in it.
func TestQuote(t *testing.T) {
	for in, want := range map[string]string{
		"default": "default", "a@b.example": "a@b.example", "https://worker.example:443": "https://worker.example:443",
		"(default)": "'(default)'", "a b": "'a b'", "it's": `'it'\''s'`, "$(rm -rf ~)": "'$(rm -rf ~)'", "": "''",
	} {
		if got := quote(in); got != want {
			t.Errorf("quote(%q) = %s, want %s", in, got, want)
		}
	}
}
