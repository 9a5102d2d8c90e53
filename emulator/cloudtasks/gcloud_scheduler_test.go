package cloudtasks_test

import (
	"os"
	"testing"
)

// TestGcloudScheduler holds `gcloud scheduler jobs`, unmodified, to a transcript:
// a few calls.
func TestGcloudScheduler(t *testing.T) { replayGcloud(t, "gcloud-scheduler-short.txt") }

// TestGcloudSchedulerTranscript does so with all that it can do.
func TestGcloudSchedulerTranscript(t *testing.T) {
	if os.Getenv("LATCHWORK_CLIENTS") == "" {
		t.Skip("NOT TESTED WITH ALL OF GCLOUD SCHEDULER: LATCHWORK_CLIENTS is not set. `make test-clients` does so; it takes minutes.")
	}
	replayGcloud(t, "gcloud-scheduler.txt")
}
