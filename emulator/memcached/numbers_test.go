package memcached

import (
	"math"
	"math/big"
	"strconv"
	"strings"
	"testing"
)

func TestNumbers(t *testing.T) {
	const bad = "bad"
	for _, test := range []struct{ in, u64, u32, i32 string }{
		{"0", "0", "0", "0"},
		{"007", "7", "7", "7"},
		{"+7", "7", "7", "7"},
		{" \t\n\v\f\r7", "7", "7", "7"},
		{"7 x", "7", "7", "7"},
		{"7\x00x", "7", "7", "7"},
		{"-0", "0", "0", "0"},
		{"-1", bad, bad, "-1"},
		{"2147483648", "2147483648", "2147483648", "-2147483648"},
		{"4294967295", "4294967295", "4294967295", "-1"},
		{"4294967296", "4294967296", "0", "0"},
		{"9223372036854775807", "9223372036854775807", "4294967295", "-1"},
		{"9223372036854775808", "9223372036854775808", "0", bad},
		{"9223372036854775808 -", bad, bad, bad},
		{"-9223372036854775808", bad, bad, "0"},
		{"-9223372036854775809", "9223372036854775807", "4294967295", bad},
		{"18446744073709551615", "18446744073709551615", "4294967295", bad},
		{"-18446744073709551615", "1", "1", bad},
		{"18446744073709551616", bad, bad, bad},
		{"99999999999999999999999", bad, bad, bad},
		{"", bad, bad, bad},
		{" ", bad, bad, bad},
		{"-", bad, bad, bad},
		{"+-1", bad, bad, bad},
		{"- 1", bad, bad, bad},
		{"x", bad, bad, bad},
		{"1x", bad, bad, bad},
		{"0x1", bad, bad, bad},
		{"1.5", bad, bad, bad},
	} {
		show := func(v int64, ok bool) string {
			if !ok {
				return bad
			}
			return strconv.FormatInt(v, 10)
		}
		u64, ok64 := parseUint64([]byte(test.in))
		got64 := bad
		if ok64 {
			got64 = strconv.FormatUint(u64, 10)
		}
		u32, ok32 := parseUint32([]byte(test.in))
		i32, oki := parseInt32([]byte(test.in))
		if got := [3]string{got64, show(int64(u32), ok32), show(int64(i32), oki)}; got != [3]string{test.u64, test.u32, test.i32} {
			t.Errorf("%q is %v, want %v", test.in, got, [3]string{test.u64, test.u32, test.i32})
		}
	}
}

// FuzzNumbers compares the parsers with arithmetic that has no bounds.
func FuzzNumbers(f *testing.F) {
	for _, s := range []string{"0", "-1", "+5 x", "\t9", "18446744073709551615", "18446744073709551616", "-9223372036854775808", "9223372036854775808-", "1x", "-", "5\x006"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		exact, number := exactly(string(in))
		inRange := func(from, to *big.Int) bool { return exact.Cmp(from) >= 0 && exact.Cmp(to) <= 0 }

		u, ok := parseUint64(in)
		maxU := new(big.Int).SetUint64(math.MaxUint64)
		wantOK := number && inRange(new(big.Int).Neg(maxU), maxU)
		want := new(big.Int)
		if wantOK {
			want.And(exact, maxU) // two's complement
			wantOK = want.IsInt64() || !strings.Contains(string(in), "-")
		}
		if ok != wantOK || ok && want.Uint64() != u {
			t.Errorf("parseUint64(%q) = %d, %v; want %v, %v", in, u, ok, want, wantOK)
		}

		i, ok := parseInt32(in)
		wantOK = number && exact.IsInt64()
		if ok != wantOK || ok && int32(exact.Int64()) != i {
			t.Errorf("parseInt32(%q) = %d, %v; want %v, %v", in, i, ok, exact, wantOK)
		}
	})
}

// exactly reads a number by the same rules without bounds.
func exactly(s string) (*big.Int, bool) {
	s = strings.TrimLeft(s, " \t\n\v\f\r")
	s, _, _ = strings.Cut(s, "\x00")
	if i := strings.IndexAny(s, " \t\n\v\f\r"); i >= 0 {
		s = s[:i]
	}
	digits := strings.TrimPrefix(strings.TrimPrefix(s, "-"), "+")
	if digits == "" || len(s)-len(digits) > 1 || strings.Trim(digits, "0123456789") != "" {
		return new(big.Int), false
	}
	return new(big.Int).SetString(s, 10)
}
