package memcached_test

import (
	"encoding/base64"
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
)

// A stream is what one connection sends: commands with their data, and how the
// network cuts them.
type stream struct {
	commands []string
	piece    int // bytes of the largest piece; 0 is no cut
	seed     uint64
}

// A generator draws streams that are full of mistakes. They keep away from what
// depends on when they run (short expirations), from what doc.go says we don't
// imitate, and from what makes a server end the connection while the client
// still sends.
type generator struct{ *rand.Rand }

func (g generator) session() []stream {
	streams := make([]stream, 1+g.IntN(4))
	for i := range streams {
		s := stream{seed: g.Uint64(), piece: pick(g, 0, 0, 0, 0, 0, 1000, 100, 100, 100, 7)}
		for range 1 + g.IntN(80) {
			s.commands = append(s.commands, g.command())
		}
		streams[i] = s
	}
	return streams
}

func pick[T any](g generator, of ...T) T { return of[g.IntN(len(of))] }

// pieces cuts text as the stream says.
func (s stream) pieces(text string) []string {
	if s.piece == 0 {
		return []string{text}
	}
	g := rand.New(rand.NewPCG(s.seed, 0))
	var pieces []string
	for len(text) > 0 {
		n := min(len(text), 1+g.IntN(s.piece))
		pieces, text = append(pieces, text[:n]), text[n:]
	}
	return pieces
}

// keys are the ones whose cas ids a stream can ask for.
func keys() []string {
	return []string{"a", "b", "c", "n", "t\tx\x01", strings.Repeat("k", 250)}
}

// key is mostly one of two, which gather a history.
func (g generator) key() string { return pick(g, append(keys(), "a", "a", "a", "n", "n", "n", "n")...) }

// mostly is one of good, and now and then one of bad.
func (g generator) mostly(good, bad []string) string {
	if g.IntN(16) == 0 {
		return pick(g, bad...)
	}
	return pick(g, good...)
}

// exptime leaves out what would end, or fall behind an R flag, while the
// streams run.
func (g generator) exptime() string {
	return g.mostly([]string{"0", "0", "0", "100", "100", "1000", "2592000", "2147483647"},
		[]string{"-1", "2592001", "4294967295", "4294967296", "x", "1x", "\t0", "9223372036854775808"})
}

// casID is to be replaced by the id last seen, or one less.
func (g generator) casID(key string) string {
	return g.mostly([]string{"<cas:" + key + ">", "<cas:" + key + ">", "<cas:" + key + ">", "<less:" + key + ">", "1"},
		[]string{"<cas:a>", "<cas:n>", "0", "x", "-1"})
}

func (g generator) command() string {
	switch n := g.IntN(100); {
	case n < 17:
		return g.update()
	case n < 27:
		return g.retrieval()
	case n < 34:
		return g.change()
	case n < 38:
		return g.admin()
	case n < 44:
		return g.noise()
	case n < 58:
		return g.metaSet()
	case n < 80:
		return g.metaGet()
	case n < 87:
		return g.meta("md", "bqkOOCITTc")
	case n < 95:
		return barrier + g.meta("ma", "bNNJDDTTTtcvvqkOCMMM")
	case n < 98:
		return "me " + g.metaKey() + pick(g, "", " b", " x", " b b") + g.end()
	default:
		return "mn" + g.end()
	}
}

// barrier stands before each command that changes a number. The real server
// holds the items of meta gets until their answers are out, and pads no
// result that such an item gets; mn sends them out. A value with a wrong length
// swallows no more than of the first one.
const barrier = "mn ................\r\nmn\r\n"

func (g generator) end() string {
	return g.mostly([]string{"\r\n"}, []string{"\n", " \r\n", " noreply\r\n", " noreply\r\n", " x\r\n", " noreply x\r\n", " \x00zz\r\n"})
}

func (g generator) gap() string { return pick(g, " ", " ", " ", " ", "  ") }

func (g generator) data() string {
	if g.IntN(400) == 0 { // in lines, since it may be read as commands
		n := pick(g, 3000, 9000, 120000, 530000, 1048300, 1048576)
		return strings.Repeat(strings.Repeat("1", 98)+"\r\n", 1+n/100)[:n]
	}
	// No numbers from 2^63 on, here or in what changes numbers: the real server
	// refuses one where a minus lies in memory behind it.
	return pick(g, "", "1", "10", "99", "999", " 8", "8 ", "+8", "x", "12x", "abc", "ab\r\ncd", "get a", "\x00\xff",
		"92233720368547758", "18446744073709551616", strings.Repeat("v", 90))
}

// length is that of data, or a lie.
func (g generator) length(data string) string {
	switch g.IntN(24) {
	case 0:
		return strconv.Itoa(len(data) + g.IntN(13) - 3)
	case 1:
		return fmt.Sprint(4294967296 + len(data))
	case 2:
		return pick(g, "-1", "x", "2147483646", "1x", "", "\t1")
	}
	return strconv.Itoa(len(data))
}

func (g generator) update() string {
	key, gap, data := g.key(), g.gap(), g.data()
	verb := pick(g, "set", "set", "set", "add", "replace", "append", "prepend", "cas", "cas")
	flags := g.mostly([]string{"0", "0", "7", "4294967295"}, []string{"4294967296", "-1", "x", "+1"})
	line := strings.Join([]string{verb, key, flags, g.exptime(), g.length(data)}, gap)
	if verb == "cas" {
		line += gap + g.casID(key)
	}
	return line + g.end() + data + "\r\n"
}

func (g generator) retrieval() string {
	gap := g.gap()
	if g.IntN(4) == 0 {
		return pick(g, "gat", "gats") + gap + g.exptime() + gap + g.key() + g.end()
	}
	words := []string{pick(g, "get", "gets", "gets", "bget"), g.key()}
	for range g.IntN(4) {
		words = append(words, g.key())
	}
	return strings.Join(words, gap) + g.end()
}

func (g generator) change() string {
	gap := g.gap()
	switch g.IntN(4) {
	case 0:
		return "touch" + gap + g.key() + gap + g.exptime() + g.end()
	case 1:
		return "delete" + gap + g.key() + pick(g, "", "", "", " 0", " 1") + g.end()
	}
	by := g.mostly([]string{"0", "1", "9", "12345", "46116860184273879"}, []string{"-1", "x", "+2", "18446744073709551616", "1\tx"})
	return barrier + pick(g, "incr", "decr") + gap + g.key() + gap + by + g.end()
}

func (g generator) admin() string {
	return pick(g, "flush_all", "flush_all 0", "flush_all -1", "version", "verbosity 0", "verbosity", "verbosity x",
		"verbosity 1 1 1", "shutdown", "stats nonsense", "stats sizes", "stats sizes_disable", "stats cachedump 1 1",
		"cache_memlimit 64", "cache_memlimit", "cache_memlimit 7", "cache_memlimit x", "cache_memlimit 1000000001",
		"watch", "watch fetchers", "lru_crawler crawl all", "lru_crawler metadump all", "lru_crawler",
		"slabs reassign 1 2", "slabs", "lru", "lru mode flat", "lru temp_ttl 9") + g.end()
}

func (g generator) noise() string {
	words := make([]string, g.IntN(8))
	for i := range words {
		words[i] = pick(g, "", "x", "get", "set", "cas", "delete", "incr", "touch", "gat", "a", "b", "0", "-1", "100",
			"noreply", "\r", "\x01", "GET", "quitx", "mg", "md", "me", "mz", "v", "k", "q", "T100")
	}
	return strings.Join(words, " ") + g.end()
}

// metaKey is a key, or one in base64 whether or not a flag says so.
func (g generator) metaKey() string {
	switch g.IntN(8) {
	case 0, 1:
		return base64.StdEncoding.EncodeToString([]byte(pick(g, "a", "n", "bin\x00ary", "with space", "\xff\xfe\xfd", strings.Repeat("k", 187))))
	case 2:
		return pick(g, "Y", "YQ", "YQ=", "YQ==YQ==", "Y!Q=.=", "====", "=YQ=", "Y===", "YWJjY===", "YWJj", strings.Repeat("k", 251), strings.Repeat("k", 252))
	}
	return g.key()
}

// flag is one flag of a meta command with its token.
func (g generator) flag(letter byte, key string) string {
	var token string
	switch letter {
	case 'O':
		token = g.mostly([]string{"1", "opaque", strings.Repeat("o", 31)}, []string{"", strings.Repeat("o", 32)})
	case 'T', 'N':
		token = g.exptime()
	case 'R':
		token = g.mostly([]string{"30", "500", "500", "2000000"}, []string{"0", "-1", "2147483647", "x"})
	case 'F':
		token = g.mostly([]string{"0", "5", "4294967295"}, []string{"-1", "x", ""})
	case 'C':
		token = g.casID(key)
	case 'M':
		token = pick(g, "S", "E", "E", "A", "A", "P", "P", "R", "R", "I", "D", "D", "+", "-", "x", "", "SS")
	case 'J':
		token = g.mostly([]string{"0", "9", "99", "92233720368547758"}, []string{"x", "-1", ""})
	case 'D':
		token = g.mostly([]string{"0", "1", "2", "10", "990", "46116860184273879"}, []string{"x", "-1", ""})
	case 'P', 'L':
		token = pick(g, "", "proxy")
	default:
		token = g.mostly([]string{""}, []string{"", "", "x"})
	}
	return string(letter) + token
}

// flags draws from letters, and now and then any.
func (g generator) flags(letters, key string) string {
	var line strings.Builder
	seen := map[byte]bool{}
	n := g.IntN(6)
	if g.IntN(60) == 0 {
		n = 15 + g.IntN(10)
		letters = "bcfhklqstuvCDFIJLMNOPRT"
	}
	for range n {
		letter := letters[g.IntN(len(letters))]
		if g.IntN(60) == 0 {
			letter = "bcfhklqstuvCDFIJLMNOPRTSEx1z~\x7f\xff"[g.IntN(31)]
		}
		if seen[letter] && g.IntN(10) > 0 {
			continue
		}
		seen[letter] = true
		line.WriteString(g.gap() + g.flag(letter, key))
	}
	return line.String()
}

func (g generator) meta(name, letters string) string {
	key := g.metaKey()
	return name + g.gap() + key + g.flags(letters, key) + g.end()
}

func (g generator) metaGet() string { return g.meta("mg", "bcfhklOqqstuvvNNRRTT") }

func (g generator) metaSet() string {
	key, gap, data := g.metaKey(), g.gap(), g.data()
	return "ms" + gap + key + gap + g.length(data) + g.flags("bcCCFIIkOqsTTMM", key) + g.end() + data + "\r\n"
}
