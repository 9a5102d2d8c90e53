package cloudtasks

import (
	"context"
	"net/http"
	"strings"
	"sync"
	"time"

	"google.golang.org/grpc/codes"

	"github.com/latchwork/latchwork/emulator/cloudtasks/internal/engine"
	"github.com/latchwork/latchwork/emulator/internal/chaos"
)

// What chaos.Settings says of the faults of deliveries. All of them are waited
// for on the machine's clock: what is under way isn't held by a frozen one.
const (
	maxDuplicateDelay = 250 * time.Millisecond
	maxOvertaking     = 5 * time.Second
	maxDeliveryDelay  = 10 * time.Second
	maxCutOff         = 100 * time.Millisecond
)

// upset puts the faults of a Chaos into the way of deliveries.
type upset struct {
	chaos   *chaos.Chaos
	deliver func(context.Context, *engine.Delivery) engine.Result

	mu   sync.Mutex
	held map[string][]chan struct{} // by queue: deliveries that wait to be overtaken
}

func (u *upset) strikes(f chaos.Fault, d *engine.Delivery) (chaos.Dice, bool) {
	return u.chaos.Strikes(f, d.Attempt, d.Queue, d.ID)
}

// duplicate is the engine's: half of the duplicates start at once, the others
// later, often after the original has been answered.
func (u *upset) duplicate(d *engine.Delivery) (later time.Duration, chosen bool) {
	dice, chosen := u.strikes(chaos.Duplicate, d)
	if !chosen || dice.Half() {
		return 0, chosen
	}
	return dice.Within(maxDuplicateDelay), true
}

// Deliver is the engine's Deliver function.
func (u *upset) Deliver(ctx context.Context, d *engine.Delivery) engine.Result {
	if d.Duplicate {
		return u.deliver(ctx, d)
	}
	if dice, struck := u.strikes(chaos.Delay, d); struck {
		wait(ctx, nil, dice.Within(maxDeliveryDelay))
	}
	if _, struck := u.strikes(chaos.Reorder, d); struck {
		wait(ctx, u.hold(d.Queue), maxOvertaking)
	}
	result := u.timeOut(ctx, d)
	u.overtake(d.Queue)
	return result
}

// timeOut delivers d, and may forget the answer.
func (u *upset) timeOut(ctx context.Context, d *engine.Delivery) engine.Result {
	dice, struck := u.strikes(chaos.Timeout, d)
	if !struck {
		return u.deliver(ctx, d)
	}
	if dice.Half() {
		cut, cancel := context.WithTimeout(ctx, (dice << 1).Within(maxCutOff))
		defer cancel()
		ctx = cut
	}
	u.deliver(ctx, d)
	return engine.Result{
		Status: http.StatusGatewayTimeout, Code: int32(codes.DeadlineExceeded),
		Message: "DEADLINE_EXCEEDED(4): no answer in time (chaos)",
	}
}

// hold returns what is closed when a delivery of the queue, made meanwhile, has
// ended.
func (u *upset) hold(queue string) <-chan struct{} {
	overtaken := make(chan struct{})
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.held == nil {
		u.held = map[string][]chan struct{}{}
	}
	u.held[queue] = append(u.held[queue], overtaken)
	return overtaken
}

func (u *upset) overtake(queue string) {
	u.mu.Lock()
	defer u.mu.Unlock()
	for _, overtaken := range u.held[queue] {
		close(overtaken)
	}
	delete(u.held, queue)
}

// wait waits until over is closed, for d at most.
func wait(ctx context.Context, over <-chan struct{}, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-over:
	case <-timer.C:
	}
}

// changes reports whether a method of the API changes something, so that its
// answer is worth losing.
func changes(method string) bool {
	name := method[strings.LastIndexByte(method, '/')+1:]
	return !strings.HasPrefix(name, "Get") && !strings.HasPrefix(name, "List") && !strings.HasPrefix(name, "Test")
}
