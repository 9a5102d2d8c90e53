package handlers

import (
	"context"
	"net/http"
	"time"
)

// bodyTime is what a caller has to send its body, verified or not.
const bodyTime = 30 * time.Second

// admit runs f for a verified caller, unless the server shuts down. f's context
// ends when the caller goes away or the server stops.
//
// A read deadline bounds the body: f takes it off with bodyDone. The body of a
// refused caller is not waited for, and its connection not used again.
func (s *Server) admit(w http.ResponseWriter, r *http.Request, f func(context.Context) (Outcome, error)) (Outcome, error) {
	// What can't set it (a test's recorder) has no slow body either.
	_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(bodyTime))
	if _, err := s.verifier.Verify(r); err != nil {
		if r.ContentLength != 0 { // net/http would read the body before it answers
			w.Header().Set("Connection", "close")
		}
		return OutcomeForbidden, err
	}
	if !s.enter() {
		return OutcomeShutdown, ErrShutdown
	}
	defer s.leave()

	ctx, cancel := context.WithCancelCause(r.Context())
	defer cancel(nil)
	defer context.AfterFunc(s.life, func() { cancel(ErrShutdown) })()
	return f(ctx)
}

// bodyDone takes the body's deadline off: one that stayed would end the handler's
// context.
func bodyDone(w http.ResponseWriter) {
	_ = http.NewResponseController(w).SetReadDeadline(time.Time{})
}

// answer writes what the status table says; nothing else writes a status. There
// are no details: the queue reads no prose.
func answer(w http.ResponseWriter, o Outcome) {
	if status := o.Status(); status == http.StatusOK {
		w.WriteHeader(status)
	} else {
		http.Error(w, o.String(), status)
	}
}
