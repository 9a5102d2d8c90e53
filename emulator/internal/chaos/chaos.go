package chaos

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"log/slog"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// slots bounds the counts of names.
const slots = 4096

// A Chaos chooses what goes wrong. New makes it.
type Chaos struct {
	logger   *slog.Logger
	changing sync.Mutex
	settings atomic.Pointer[Settings]
	injected [faults]atomic.Uint64
	times    [slots]atomic.Uint32 // that names have come, by their hashes
}

// New returns a Chaos with these settings, or the rule that they break. A nil
// logger discards.
func New(s Settings, logger *slog.Logger) (*Chaos, error) {
	if logger == nil {
		logger = slog.New(slog.DiscardHandler)
	}
	c := &Chaos{logger: logger}
	c.settings.Store(&Settings{Seed: rand.Uint64()>>11 | 1}) // exact as a number of JSON; not 0
	if err := c.Set(s); err != nil {
		return nil, err
	}
	return c, nil
}

// Set replaces the settings, unless they break a rule.
func (c *Chaos) Set(s Settings) error {
	if err := s.Check(); err != nil {
		return err
	}
	c.changing.Lock()
	defer c.changing.Unlock()
	before, level := c.settings.Load(), slog.LevelInfo
	if s.Seed == 0 && s.any() {
		level = slog.LevelWarn // for who wants to see the same again
	}
	s.Seed = cmp.Or(s.Seed, before.Seed)
	c.settings.Store(&s)
	if s.any() || before.any() {
		c.logger.Log(context.Background(), level, "chaos", "settings", s)
	}
	return nil
}

// Settings returns the settings, with the seed in use.
func (c *Chaos) Settings() Settings { return *c.settings.Load() }

// Injected returns how often each fault has struck, by its name, zeros included.
func (c *Chaos) Injected() map[string]uint64 {
	counts := make(map[string]uint64, faults)
	for f := range faults {
		counts[f.String()] = c.injected[f].Load()
	}
	return counts
}

// On reports whether f can strike at all: who has to prepare names asks before.
func (c *Chaos) On(f Fault) bool { return c != nil && c.settings.Load().share(f) > 0 }

// Strikes decides whether f strikes the nth time that what has these names comes,
// and counts and logs it when it does. The same ones get the same answer.
func (c *Chaos) Strikes(f Fault, nth int, names ...string) (Dice, bool) {
	if c == nil {
		return 0, false
	}
	s := c.settings.Load()
	if s.share(f) == 0 {
		return 0, false
	}
	return c.strikes(s, f, uint32(nth), names)
}

// StrikesNext is Strikes for what doesn't know how often it has come: it is
// counted here.
func (c *Chaos) StrikesNext(f Fault, names ...string) (Dice, bool) {
	if c == nil {
		return 0, false
	}
	s := c.settings.Load()
	if s.share(f) == 0 {
		return 0, false
	}
	slot := binary.BigEndian.Uint16(hash(s.Seed, f, 0, names)) % slots
	return c.strikes(s, f, c.times[slot].Add(1), names)
}

func (c *Chaos) strikes(s *Settings, f Fault, nth uint32, names []string) (Dice, bool) {
	sum := hash(s.Seed, f, nth, names)
	if float64(binary.BigEndian.Uint64(sum)>>11)/(1<<53) >= s.share(f) { // the left side lies in [0, 1)
		return 0, false
	}
	c.injected[f].Add(1)
	c.logger.Info("chaos strikes", "fault", f.String(), "what", strings.Join(names, " "), "time", nth)
	return Dice(binary.BigEndian.Uint64(sum[8:])), true
}

func hash(seed uint64, f Fault, nth uint32, names []string) []byte {
	text := make([]byte, 0, 256)
	text = binary.BigEndian.AppendUint64(text, seed)
	text = append(text, byte(f))
	text = binary.BigEndian.AppendUint32(text, nth)
	for _, name := range names {
		text = binary.AppendUvarint(text, uint64(len(name)))
		text = append(text, name...)
	}
	sum := sha256.Sum256(text)
	return sum[:]
}

// Dice are further choices about a fault that strikes, independent of whether it
// does.
type Dice uint64

// Half is true for half of the faults.
func (d Dice) Half() bool { return d>>63 == 0 }

// Within returns a time from 0 to below limit, evenly spread.
func (d Dice) Within(limit time.Duration) time.Duration {
	return time.Duration(float64(d<<1>>12) / (1 << 52) * float64(limit))
}
