package handlers

import "net/http"

// Outcome is how a delivery ended.
type Outcome int

const (
	OutcomeCommitted    Outcome = iota // the handler's work is done
	OutcomeDuplicate                   // the ledger had a final state: finished by another delivery
	OutcomeBusy                        // another delivery holds the lock
	OutcomeCoalesced                   // the same, and the next slot's task exists
	OutcomeBusyDone                    // the same, and the class leaves the work to the holder
	OutcomeFailed                      // counted: error, panic, refused commit
	OutcomeTimedOut                    // counted: past the handler's deadline
	OutcomeContention                  // uncounted: its transactions kept colliding
	OutcomeUnavailable                 // uncounted: Datastore or queue in trouble
	OutcomeLockDown                    // uncounted: memcached is down, and the option refuses
	OutcomeInterrupted                 // uncounted: the lock was lost, or the caller went away
	OutcomeShutdown                    // uncounted: this process is ending
	OutcomeBackPressure                // uncounted: the handler asked to slow the queue down
	OutcomeSnoozed                     // moved to a later hop by the handler
	OutcomeLeg                         // moved to the next leg of a far ETA
	OutcomeCancelled                   // ended by the handler
	OutcomeDead                        // in the dead letters
	OutcomeUnknownClass                // a deploy is rolling
	OutcomeNewerVersion                // a deploy is rolling
	OutcomeMalformed                   // its summary is in the dead letters
	OutcomeForbidden                   // the caller was not verified
	outcomes                           // how many there are
)

// The status table. 2xx ends a task, so it is only for what is finished or
// safely recorded. 429 and 503 slow the whole queue down, so they are only for
// that purpose; all else that must come again answers 409, 404 or 500.
var table = [outcomes]struct {
	name   string
	status int
}{
	OutcomeCommitted:    {"committed", http.StatusOK},
	OutcomeDuplicate:    {"duplicate", http.StatusOK},
	OutcomeBusy:         {"busy", http.StatusConflict},
	OutcomeCoalesced:    {"coalesced", http.StatusOK},
	OutcomeBusyDone:     {"busy-done", http.StatusOK},
	OutcomeFailed:       {"failed", http.StatusInternalServerError},
	OutcomeTimedOut:     {"timed-out", http.StatusInternalServerError},
	OutcomeContention:   {"contention", http.StatusInternalServerError},
	OutcomeUnavailable:  {"unavailable", http.StatusInternalServerError},
	OutcomeLockDown:     {"lock-down", http.StatusServiceUnavailable},
	OutcomeInterrupted:  {"interrupted", http.StatusInternalServerError},
	OutcomeShutdown:     {"shutdown", http.StatusInternalServerError},
	OutcomeBackPressure: {"back-pressure", http.StatusServiceUnavailable},
	OutcomeSnoozed:      {"snoozed", http.StatusOK},
	OutcomeLeg:          {"leg", http.StatusOK},
	OutcomeCancelled:    {"cancelled", http.StatusOK},
	OutcomeDead:         {"dead", http.StatusOK},
	OutcomeUnknownClass: {"unknown-class", http.StatusNotFound},
	OutcomeNewerVersion: {"newer-version", http.StatusNotFound},
	OutcomeMalformed:    {"malformed", http.StatusOK},
	OutcomeForbidden:    {"forbidden", http.StatusForbidden},
}

func (o Outcome) String() string {
	if o < 0 || o >= outcomes {
		return "unknown"
	}
	return table[o].name
}

// Status is what a delivery with this outcome answers.
func (o Outcome) Status() int {
	if o < 0 || o >= outcomes {
		return http.StatusInternalServerError
	}
	return table[o].status
}
