package emulator

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"
)

// maxAdminBody is far more than any request to the admin paths says.
const maxAdminBody = 64 << 10

// admin serves the clock and the chaos below /_latchwork/, as
// docs/time-and-chaos.md describes.
func (s *Suite) admin() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /_latchwork/clock", func(w http.ResponseWriter, _ *http.Request) { s.answerClock(w) })
	mux.HandleFunc("POST /_latchwork/clock", s.moveClock)
	mux.HandleFunc("GET /_latchwork/chaos", func(w http.ResponseWriter, _ *http.Request) { s.answerChaos(w) })
	mux.HandleFunc("PUT /_latchwork/chaos", func(w http.ResponseWriter, r *http.Request) {
		var settings ChaosSettings
		err := readJSON(r, &settings)
		if err == nil {
			err = s.chaos.Set(settings)
		}
		if err != nil {
			refuse(w, err)
			return
		}
		s.answerChaos(w)
	})
	return mux
}

func (s *Suite) answerClock(w http.ResponseWriter) {
	state := s.clock.State()
	writeJSON(w, http.StatusOK, struct {
		Now    time.Time `json:"now"`
		Offset string    `json:"offset"` // from the machine's clock
		Frozen bool      `json:"frozen"`
	}{state.Now.UTC(), state.Offset.String(), state.Frozen})
}

func (s *Suite) answerChaos(w http.ResponseWriter) {
	writeJSON(w, http.StatusOK, struct {
		Settings ChaosSettings     `json:"settings"`
		Injected map[string]uint64 `json:"injected"`
	}{s.chaos.Settings(), s.chaos.Injected()})
}

// moveClock does one of four things to the clock.
func (s *Suite) moveClock(w http.ResponseWriter, r *http.Request) {
	var move struct {
		Frozen    *bool      `json:"frozen"`
		Advance   *string    `json:"advance"`
		AdvanceTo *time.Time `json:"advanceTo"`
	}
	err := readJSON(r, &move)
	var by time.Duration
	if err == nil && move.Advance != nil {
		by, err = time.ParseDuration(*move.Advance)
	}
	switch wishes := count(move.Frozen != nil, move.Advance != nil, move.AdvanceTo != nil); {
	case err != nil:
	case wishes != 1:
		err = fmt.Errorf(`%d of "frozen", "advance" and "advanceTo" are given: want one of them`, wishes)
	case move.Advance != nil:
		err = s.clock.Advance(by)
	case move.AdvanceTo != nil:
		err = s.clock.AdvanceTo(*move.AdvanceTo)
	case *move.Frozen:
		s.clock.Freeze()
	default:
		s.clock.Resume()
	}
	if err != nil {
		refuse(w, err)
		return
	}
	state := s.clock.State()
	s.options.Logger.Info("the clock was moved", "to", state.Now.UTC(), "frozen", state.Frozen)
	s.answerClock(w)
}

func count(conditions ...bool) (n int) {
	for _, c := range conditions {
		if c {
			n++
		}
	}
	return n
}

// readJSON reads a body that is one JSON object, of known fields alone.
func readJSON(r *http.Request, into any) error {
	body, err := io.ReadAll(io.LimitReader(r.Body, maxAdminBody+1))
	if err != nil {
		return err
	}
	if len(body) > maxAdminBody {
		return fmt.Errorf("the body is longer than %d bytes", maxAdminBody)
	}
	d := json.NewDecoder(bytes.NewReader(body))
	d.DisallowUnknownFields()
	if err := d.Decode(into); err != nil {
		return fmt.Errorf("the body: %w: want a JSON object", err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return errors.New("the body goes on after its JSON object")
	}
	return nil
}

func refuse(w http.ResponseWriter, err error) {
	writeJSON(w, http.StatusBadRequest, map[string]string{"error": err.Error()})
}

func writeJSON(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v) // the client has gone
}
