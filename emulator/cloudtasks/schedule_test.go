package cloudtasks_test

import (
	"testing"
	"testing/synctest"
	"time"

	"cloud.google.com/go/cloudtasks/apiv2/cloudtaskspb"
	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/types/known/durationpb"
)

// The example of google.cloud.tasks.v2.RetryConfig.max_doublings.
func TestRetriesFollowTheDocumentedBackoff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		target := &recorder{script: []int{500, 500, 500, 500, 500, 500, 500, 500}}
		e := start(t, nil, target)
		e.queue(&cloudtaskspb.Queue{RetryConfig: &cloudtaskspb.RetryConfig{
			MinBackoff: durationpb.New(10 * time.Second), MaxBackoff: durationpb.New(300 * time.Second), MaxDoublings: 3,
		}})
		e.create(post("a"))
		time.Sleep(time.Hour)

		var waits []float64
		times := target.times()
		for i := 1; i < len(times); i++ {
			waits = append(waits, times[i].Sub(times[i-1]).Seconds())
		}
		if diff := cmp.Diff([]float64{10, 20, 40, 80, 160, 240, 300, 300}, waits); diff != "" {
			t.Errorf("seconds between attempts (-want +got):\n%s", diff)
		}
		if _, err := e.get("a"); err == nil {
			t.Error("the task is still there after its success")
		}
	})
}
