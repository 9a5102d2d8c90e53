package memcached

import (
	"io"

	"github.com/latchwork/latchwork/emulator/internal/chaos"
)

// run executes a command, unless it meets an outage: then the connection ends
// before it, or after it and without its answer.
func (c *conn) run(line []byte) error {
	if !c.s.opts.Chaos.On(chaos.MemcachedOutage) {
		return c.execute(line)
	}
	name, rest := nextWord(line)
	key, _ := nextWord(rest)
	dice, struck := c.s.opts.Chaos.StrikesNext(chaos.MemcachedOutage, string(name), string(key[:min(len(key), maxKeyBytes)]))
	if !struck {
		return c.execute(line)
	}
	_ = c.out.Flush() // the answers to earlier commands
	if dice.Half() {
		c.out.Reset(io.Discard)
		_ = c.execute(line)
	}
	return errDrop
}
