package service

import (
	"cmp"
	"math"
	"strings"
	"time"

	"cloud.google.com/go/cloudtasks/apiv2/cloudtaskspb"
	v2beta3 "cloud.google.com/go/cloudtasks/apiv2beta3/cloudtaskspb"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/latchwork/latchwork/emulator/cloudtasks/internal/engine"
)

// Limits and defaults of queues.
const (
	maxRate       = 500
	maxBurst      = 500
	maxConcurrent = 5000

	day             = 24 * time.Hour
	minTaskTTL      = 10 * day
	maxTaskTTL      = 3650 * day
	minTombstoneTTL = time.Hour
	maxTombstoneTTL = 9 * day

	defaultRate       = 500
	defaultBurst      = 100
	defaultConcurrent = 1000

	defaultAttempts   = 100
	defaultMinBackoff = 100 * time.Millisecond
	defaultMaxBackoff = time.Hour
	defaultDoublings  = 16
)

// A Queue is a queue as all versions together say it.
type Queue struct {
	*cloudtaskspb.Queue
	Pull                  bool                 // tasks are leased, not delivered; can't be changed
	TaskTTL, TombstoneTTL *durationpb.Duration // nil: the default
	Stats                 *v2beta3.QueueStats  // of reads that ask for it
}

// check finds what the service refuses, before defaults are filled in.
func (q *Queue) check() error {
	if err := checkLimits(q.GetRateLimits()); err != nil {
		return err
	}
	if err := checkRetry(q.GetRetryConfig()); err != nil {
		return err
	}
	if err := checkTTL("taskTtl", q.TaskTTL, minTaskTTL, maxTaskTTL, "[10d, 10y]"); err != nil {
		return err
	}
	if err := checkTTL("tombstoneTtl", q.TombstoneTTL, minTombstoneTTL, maxTombstoneTTL, "[1h, 9d]"); err != nil {
		return err
	}
	if r := q.GetStackdriverLoggingConfig().GetSamplingRatio(); !(r >= 0 && r <= 1) {
		return Invalid("StackdriverLoggingConfig.samplingRatio must be between [0.0, 1.0], not %v.", r)
	}
	if err := checkHTTPTarget(q.GetHttpTarget()); err != nil {
		return err
	}
	if q.Pull && (q.GetHttpTarget() != nil || q.GetAppEngineRoutingOverride() != nil) {
		return Invalid("A pull queue can't have an HTTP or App Engine target.")
	}
	return checkRouting(q.GetAppEngineRoutingOverride())
}

func checkLimits(l *cloudtaskspb.RateLimits) error {
	rate, concurrent := l.GetMaxDispatchesPerSecond(), l.GetMaxConcurrentDispatches()
	switch {
	case rate < 0:
		return Invalid("RateLimits.maxDispatchesPerSecond cannot be negative.")
	case rate > maxRate || math.IsNaN(rate):
		return Invalid("RateLimits.maxDispatchesPerSecond must be less than or equal to %d.", maxRate)
	case concurrent < 0:
		return Invalid("RateLimits.maxConcurrentDispatches cannot be negative.")
	case concurrent > maxConcurrent:
		return Invalid("RateLimits.maxConcurrentDispatches must be less than or equal to %d.", maxConcurrent)
	case l.GetMaxBurstSize() < 0:
		return Invalid("RateLimits.maxBurstSize cannot be negative.")
	case l.GetMaxBurstSize() > maxBurst:
		return Invalid("RateLimits.maxBurstSize must be less than or equal to %d.", maxBurst)
	}
	return nil
}

func checkTTL(name string, ttl *durationpb.Duration, least, most time.Duration, rule string) error {
	if ttl == nil {
		return nil
	}
	if d := ttl.AsDuration(); ttl.CheckValid() != nil || d < least || d > most {
		return Invalid("Queue.%s must be between %s.", name, rule)
	}
	return nil
}

func checkRetry(r *cloudtaskspb.RetryConfig) error {
	if r == nil {
		return nil
	}
	switch {
	case r.MaxAttempts < -1:
		return Invalid("RetryConfig.maxAttempts must be greater or equal to -1.")
	case r.MaxDoublings < 0:
		return Invalid("RetryConfig.maxDoublings cannot be negative.")
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
			return Invalid("RetryConfig.%s is not a valid duration: %d s and %d ns.", f.name, f.d.GetSeconds(), f.d.GetNanos())
		}
		if f.d.AsDuration() < 0 {
			return Invalid("RetryConfig.%s cannot be negative.", f.name)
		}
	}
	if retry := retryOf(r); retry.MinBackoff > retry.MaxBackoff {
		return Invalid("RetryConfig.minBackoff must be less than or equal to RetryConfig.maxBackoff.")
	}
	return nil
}

// checkRouting refuses what can't be part of a host name.
func checkRouting(r *cloudtaskspb.AppEngineRouting) error {
	for _, part := range []string{r.GetService(), r.GetVersion(), r.GetInstance()} {
		if part != "" && !made(part, 100, "-_") {
			return Invalid("AppEngineRouting %q can contain only letters, numbers, hyphens and underscores, at most 100.", part)
		}
	}
	return nil
}

// complete fills in what the service picks. keepDoublings says that a
// max_doublings of 0 was asked for.
func (q *Queue) complete(keepDoublings bool) {
	if q.RateLimits == nil {
		q.RateLimits = new(cloudtaskspb.RateLimits)
	}
	l := q.RateLimits
	l.MaxDispatchesPerSecond = cmp.Or(l.MaxDispatchesPerSecond, defaultRate)
	l.MaxConcurrentDispatches = cmp.Or(l.MaxConcurrentDispatches, defaultConcurrent)
	l.MaxBurstSize = cmp.Or(l.MaxBurstSize, int32(min(math.Ceil(l.MaxDispatchesPerSecond), defaultBurst)))

	if q.RetryConfig == nil {
		q.RetryConfig = new(cloudtaskspb.RetryConfig)
	}
	r := q.RetryConfig
	r.MaxAttempts = cmp.Or(r.MaxAttempts, defaultAttempts)
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
		o.Host = routingHost(q.GetName(), o)
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
		MaxAttempts: cmp.Or(int(r.GetMaxAttempts()), defaultAttempts), MaxDuration: r.GetMaxRetryDuration().AsDuration(),
		MinBackoff: defaultMinBackoff, MaxBackoff: defaultMaxBackoff,
		MaxDoublings: int(r.GetMaxDoublings()),
	}
	if r.GetMinBackoff() != nil {
		retry.MinBackoff = r.GetMinBackoff().AsDuration()
	}
	if r.GetMaxBackoff() != nil {
		retry.MaxBackoff = r.GetMaxBackoff().AsDuration()
	}
	return retry
}

// store is what the engine keeps of a complete queue.
func (q *Queue) store() (engine.Settings, []byte, error) {
	q.State, q.PurgeTime = cloudtaskspb.Queue_STATE_UNSPECIFIED, nil
	spec, err := proto.Marshal(q.Queue)
	if err != nil {
		return engine.Settings{}, nil, Invalid("The queue can't be stored: %v", err)
	}
	return engine.Settings{
		Pull:          q.Pull,
		Rate:          q.GetRateLimits().GetMaxDispatchesPerSecond(),
		Burst:         int(q.GetRateLimits().GetMaxBurstSize()),
		MaxConcurrent: int(q.GetRateLimits().GetMaxConcurrentDispatches()),
		Retry:         retryOf(q.GetRetryConfig()),
		TaskTTL:       q.TaskTTL.AsDuration(),
		TombstoneTTL:  q.TombstoneTTL.AsDuration(),
	}, spec, nil
}

// load is a queue as the engine has it.
func load(d engine.Queue) (*Queue, error) {
	q := &Queue{Queue: new(cloudtaskspb.Queue), Pull: d.Settings.Pull}
	if err := proto.Unmarshal(d.Spec, q.Queue); err != nil {
		return nil, err
	}
	q.TaskTTL = durationpb.New(cmp.Or(d.Settings.TaskTTL, engine.Retention))
	q.TombstoneTTL = durationpb.New(cmp.Or(d.Settings.TombstoneTTL, engine.Tombstone))
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
