package cloudtasks

import (
	"math"
	"strings"
	"time"

	"cloud.google.com/go/cloudtasks/apiv2/cloudtaskspb"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/latchwork/latchwork/emulator/cloudtasks/internal/engine"
)

// Limits and defaults of queues.
const (
	maxRate       = 500
	maxConcurrent = 5000

	defaultRate       = 500
	defaultBurst      = 100
	defaultConcurrent = 1000

	defaultAttempts   = 100
	defaultMinBackoff = 100 * time.Millisecond
	defaultMaxBackoff = time.Hour
	defaultDoublings  = 16
)

// checkQueue finds what the service refuses, before defaults are filled in.
func checkQueue(q *cloudtaskspb.Queue) error {
	rate := q.GetRateLimits().GetMaxDispatchesPerSecond()
	concurrent := q.GetRateLimits().GetMaxConcurrentDispatches()
	switch {
	case rate < 0:
		return invalid("RateLimits.maxDispatchesPerSecond cannot be negative.")
	case rate > maxRate || math.IsNaN(rate):
		return invalid("RateLimits.maxDispatchesPerSecond must be less than or equal to %d.", maxRate)
	case concurrent < 0:
		return invalid("RateLimits.maxConcurrentDispatches cannot be negative.")
	case concurrent > maxConcurrent:
		return invalid("RateLimits.maxConcurrentDispatches must be less than or equal to %d.", maxConcurrent)
	}
	if err := checkRetry(q.GetRetryConfig()); err != nil {
		return err
	}
	if q.GetHttpTarget() != nil {
		return errHTTPTarget()
	}
	return checkRouting(q.GetAppEngineRoutingOverride())
}

func checkRetry(r *cloudtaskspb.RetryConfig) error {
	if r == nil {
		return nil
	}
	switch {
	case r.MaxAttempts < -1:
		return invalid("RetryConfig.maxAttempts must be greater or equal to -1.")
	case r.MaxDoublings < 0:
		return invalid("RetryConfig.maxDoublings cannot be negative.")
	}
	for _, f := range []struct {
		name string
		d    *durationpb.Duration
	}{
		{"minBackoff", r.MinBackoff}, {"maxBackoff", r.MaxBackoff}, {"maxRetryDuration", r.MaxRetryDuration},
	} {
		if f.d == nil {
			continue
		}
		if f.d.CheckValid() != nil {
			return invalid("RetryConfig.%s is not a valid duration: %d s and %d ns.", f.name, f.d.GetSeconds(), f.d.GetNanos())
		}
		if f.d.AsDuration() < 0 {
			return invalid("RetryConfig.%s cannot be negative.", f.name)
		}
	}
	if retry := retryOf(r); retry.MinBackoff > retry.MaxBackoff {
		return invalid("RetryConfig.minBackoff must be less than or equal to RetryConfig.maxBackoff.")
	}
	return nil
}

// checkRouting refuses what can't be part of a host name.
func checkRouting(r *cloudtaskspb.AppEngineRouting) error {
	for _, part := range []string{r.GetService(), r.GetVersion(), r.GetInstance()} {
		if part != "" && !made(part, 100, "-_") {
			return invalid("AppEngineRouting %q can contain only letters, numbers, hyphens and underscores, at most 100.", part)
		}
	}
	return nil
}

// withDefaults fills in what the service picks. keepDoublings says that a
// max_doublings of 0 was asked for.
func withDefaults(q *cloudtaskspb.Queue, keepDoublings bool) {
	if q.RateLimits == nil {
		q.RateLimits = new(cloudtaskspb.RateLimits)
	}
	l := q.RateLimits
	if l.MaxDispatchesPerSecond == 0 {
		l.MaxDispatchesPerSecond = defaultRate
	}
	if l.MaxConcurrentDispatches == 0 {
		l.MaxConcurrentDispatches = defaultConcurrent
	}
	// Output only: the service reckons it from the rate.
	l.MaxBurstSize = int32(min(math.Ceil(l.MaxDispatchesPerSecond), defaultBurst))

	if q.RetryConfig == nil {
		q.RetryConfig = new(cloudtaskspb.RetryConfig)
	}
	r := q.RetryConfig
	if r.MaxAttempts == 0 {
		r.MaxAttempts = defaultAttempts
	}
	if r.MinBackoff == nil {
		r.MinBackoff = durationpb.New(defaultMinBackoff)
	}
	if r.MaxBackoff == nil {
		r.MaxBackoff = durationpb.New(defaultMaxBackoff)
	}
	if r.MaxDoublings == 0 && !keepDoublings {
		r.MaxDoublings = defaultDoublings
	}
	if o := q.AppEngineRoutingOverride; o != nil {
		o.Host = routingHost(q.Name, o)
	}
}

// routingHost is the host of an App Engine service in the cloud.
func routingHost(queue string, r *cloudtaskspb.AppEngineRouting) string {
	project, location, _ := splitQueue(queue)
	var b strings.Builder
	for _, part := range []string{r.GetInstance(), r.GetVersion(), r.GetService(), project, location} {
		if part != "" {
			b.WriteString(part)
			b.WriteByte('.')
		}
	}
	return b.String() + "r.appspot.com"
}

// retryOf is the rule that r stands for: what it leaves out has the service's
// default.
func retryOf(r *cloudtaskspb.RetryConfig) engine.Retry {
	retry := engine.Retry{
		MaxAttempts: int(r.GetMaxAttempts()), MaxDuration: r.GetMaxRetryDuration().AsDuration(),
		MinBackoff: defaultMinBackoff, MaxBackoff: defaultMaxBackoff,
		MaxDoublings: int(r.GetMaxDoublings()),
	}
	if retry.MaxAttempts == 0 {
		retry.MaxAttempts = defaultAttempts
	}
	if r.GetMinBackoff() != nil {
		retry.MinBackoff = r.GetMinBackoff().AsDuration()
	}
	if r.GetMaxBackoff() != nil {
		retry.MaxBackoff = r.GetMaxBackoff().AsDuration()
	}
	return retry
}

// settingsOf are the engine's settings of a queue with its defaults filled in.
func settingsOf(q *cloudtaskspb.Queue) engine.Settings {
	return engine.Settings{
		Rate:          q.GetRateLimits().GetMaxDispatchesPerSecond(),
		Burst:         int(q.GetRateLimits().GetMaxBurstSize()),
		MaxConcurrent: int(q.GetRateLimits().GetMaxConcurrentDispatches()),
		Retry:         retryOf(q.GetRetryConfig()),
	}
}

// queueSpec is what the engine keeps of a queue.
func queueSpec(q *cloudtaskspb.Queue) ([]byte, error) {
	q.State, q.PurgeTime = cloudtaskspb.Queue_STATE_UNSPECIFIED, nil
	return proto.Marshal(q)
}

// queueMessage is a queue as clients see it.
func queueMessage(d engine.Queue) (*cloudtaskspb.Queue, error) {
	q := new(cloudtaskspb.Queue)
	if err := proto.Unmarshal(d.Spec, q); err != nil {
		return nil, err
	}
	q.State = cloudtaskspb.Queue_RUNNING
	if d.Paused {
		q.State = cloudtaskspb.Queue_PAUSED
	}
	if d.Purged != 0 {
		q.PurgeTime = timestamp(d.Purged)
	}
	return q, nil
}

func timestamp(m engine.Micros) *timestamppb.Timestamp {
	return timestamppb.New(time.UnixMicro(int64(m)))
}
