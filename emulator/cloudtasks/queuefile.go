package cloudtasks

import (
	"slices"

	"cloud.google.com/go/cloudtasks/apiv2beta3/cloudtaskspb"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/latchwork/latchwork/emulator/cloudtasks/internal/queueyaml"
	"github.com/latchwork/latchwork/emulator/cloudtasks/internal/service"
)

// DefaultQueue is the queue that a deploy of queue.yaml never pauses for not
// being in the file.
const DefaultQueue = queueyaml.DefaultQueue

// A QueueFile is App Engine's queue.yaml in the terms of Cloud Tasks, for
// programs that compare queues with a file, or make them what it says, over the
// API. It is in the version v2beta3, the only one that has all that the file says.
type QueueFile struct {
	Queues       []FileQueue
	ResumePaused bool // queues that are listed and paused go on
}

// A FileQueue is an entry of the file.
type FileQueue struct {
	Line   int
	Paused bool // the rate is 0, which pauses the queue and leaves its rate alone

	// Queue is what a deploy makes of the entry. Its name is the short id.
	Queue *cloudtaskspb.Queue

	// Fields are the paths within Queue that the file decides of a queue that is
	// there. What else Queue has is for a new one.
	Fields []string
}

// ParseQueueYAML reads a queue.yaml. What the Google Cloud CLI refuses to deploy is
// an error that names the line.
func ParseQueueYAML(text []byte) (*QueueFile, error) {
	file, err := queueyaml.Parse(text)
	if err != nil {
		return nil, err
	}
	out := &QueueFile{ResumePaused: file.ResumePaused}
	for _, q := range file.Queues {
		out.Queues = append(out.Queues, fileQueue(q))
	}
	return out, nil
}

func fileQueue(q queueyaml.Queue) FileQueue {
	const rate, target = "rate_limits.max_dispatches_per_second", "app_engine_routing_override"
	from, to := q.Message(q.Name), new(cloudtaskspb.Queue)
	service.Copy(to, from)
	to.TaskTtl, to.TombstoneTtl = durationpb.New(queueyaml.TaskTTL), durationpb.New(queueyaml.TombstoneTTL)
	to.Type = cloudtaskspb.Queue_PUSH
	if q.Pull {
		to.Type, to.RateLimits = cloudtaskspb.Queue_PULL, nil
		to.RetryConfig = &cloudtaskspb.RetryConfig{MaxAttempts: int32(q.MaxAttempts)}
	}
	if from.AppEngineRoutingOverride != nil {
		override := new(cloudtaskspb.AppEngineRouting)
		service.Copy(override, from.AppEngineRoutingOverride)
		to.QueueType = &cloudtaskspb.Queue_AppEngineHttpQueue{AppEngineHttpQueue: &cloudtaskspb.AppEngineHttpQueue{AppEngineRoutingOverride: override}}
	}
	f := FileQueue{Line: q.Line, Paused: !q.Pull && q.Rate == 0, Queue: to, Fields: q.Fields()}
	if f.Paused {
		f.Fields = slices.DeleteFunc(f.Fields, func(path string) bool { return path == rate })
	}
	if i := slices.Index(f.Fields, target); i >= 0 {
		f.Fields[i] = "app_engine_http_queue.app_engine_routing_override"
	}
	return f
}
