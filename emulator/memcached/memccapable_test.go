package memcached_test

import (
	"net"
	"os/exec"
	"strings"
	"testing"
)

// TestMemccapable runs the protocol test of libmemcached, all that it asks of
// a server's text protocol.
func TestMemccapable(t *testing.T) {
	program := look(t, "memccapable", "apt-get install libmemcached-tools")
	host, port, err := net.SplitHostPort(serveTCP(t, nil))
	if err != nil {
		t.Fatal(err)
	}
	out, err := exec.CommandContext(t.Context(), program, "-h", host, "-p", port, "-a", "-t", "30").CombinedOutput()
	if err != nil || !strings.Contains(string(out), "All tests passed") {
		t.Errorf("memccapable -a: %v\n%s", err, out)
	}
	passed := strings.Count(string(out), "[pass]")
	if lines := strings.Count(string(out), "ascii "); passed == 0 || passed != lines {
		t.Errorf("%d of %d passed:\n%s", passed, lines, out)
	}
	t.Logf("%d passed:\n%s", passed, out)
}
