package cli

import (
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/latchwork/latchwork/emulator"
)

// The exit status of `queues diff` is that of diff: scripts go by it.
func TestExitStatusOfQueuesDiff(t *testing.T) {
	suite, err := emulator.Start(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := suite.Close(); err != nil {
			t.Error(err)
		}
	})
	file := filepath.Join(t.TempDir(), "queue.yaml")
	if err := os.WriteFile(file, []byte("queue: [{name: mail, rate: 1/s}]"), 0o600); err != nil {
		t.Fatal(err)
	}
	run := func(args ...string) int {
		t.Helper()
		env := Env{Stdin: strings.NewReader(""), Stdout: t.Output(), Stderr: io.Discard, Getenv: func(name string) string {
			if name == "CLOUD_TASKS_EMULATOR_HOST" {
				return suite.CloudTasksAddr()
			}
			return ""
		}}
		return ExitStatus(Run(t.Context(), append([]string{"queues"}, args...), env))
	}
	for _, step := range []struct {
		want int
		args []string
	}{
		{1, []string{"diff", file}},
		{1, []string{"diff", "--json", file}},
		{0, []string{"apply", file}},
		{0, []string{"diff", file}},
		{2, []string{"diff", file + ".bak"}},
		{1, []string{"apply", file + ".bak"}},
		{2, []string{"diff", "--colour"}},
	} {
		if got := run(step.args...); got != step.want {
			t.Errorf("queues %v: status %d, want %d", step.args, got, step.want)
		}
	}
}
