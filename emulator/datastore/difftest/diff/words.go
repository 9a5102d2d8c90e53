package diff

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
)

// pairOfMutations is the text about two mutations of one entity.
var pairOfMutations = regexp.MustCompile(`^InvalidArgument: Cannot (insert|update|upsert|delete) then (insert|update) an entity in the same request\.$`)

// mustBeSame is the text about what two mutations of one entity say differently.
var mustBeSame = regexp.MustCompile(`^InvalidArgument: Mutations for the same entity must have the same (base version|conflict resolution strategy)\.$`)

// bothSyntax matches when both answers say where a text stops being GQL.
func bothSyntax(c *Case) bool {
	is := func(text string) bool {
		return strings.HasPrefix(text, "InvalidArgument: Encountered ") || strings.HasPrefix(text, "InvalidArgument: Lexical error ")
	}
	return isGQL(c.Step.Request) && is(c.Difference.Ours) && is(c.Difference.Theirs)
}

// samePlace matches when they name the same token at the same place.
func samePlace(c *Case) bool {
	for _, rest := range []string{"\nWas expecting", " after : "} {
		x, _, found := strings.Cut(c.Difference.Ours, rest)
		y, _, also := strings.Cut(c.Difference.Theirs, rest)
		if found && also && x == y {
			return true
		}
	}
	return false
}

// listFilter is DS's text about an IN of several values.
var listFilter = regexp.MustCompile(`^InvalidArgument: Filter has [0-9]+ properties, expected 1$`)

// otherWords matches pairs of texts that mean the same.
func otherWords(c *Case) bool {
	ours, invalid := strings.CutPrefix(c.Difference.Ours, "InvalidArgument: ")
	theirs, also := strings.CutPrefix(c.Difference.Theirs, "InvalidArgument: ")
	if !invalid || !also {
		return false
	}
	for _, pair := range wordings {
		if x := pair[0].FindStringSubmatch(ours); x != nil {
			if y := pair[1].FindStringSubmatch(theirs); y != nil && (len(x) == 1 || len(y) == 1 || x[1] == y[1]) {
				return true
			}
		}
	}
	return strings.TrimSuffix(strings.ReplaceAll(ours, "'", ""), ".") == theirs
}

// wordings are our texts and DS's; what stands in parentheses is the same in
// both.
var wordings = func() (all [][2]*regexp.Regexp) {
	for _, pair := range [][2]string{
		{`Cannot use projection on a property with an equality filter\.`, `cannot use projection on a property with an equality filter`},
		{`Cannot use group by on a property with an equality filter\.`, `cannot use group by on a property with an equality filter`},
		{`All group by properties must be ordered before any non group by properties\.`, `must specify all group by orderings before any non group by orderings`},
		{`Group by is not supported for the property: (.*)`, `group by is not supported for the property: (.*)`},
		{`Transaction is invalid or closed\.`, `transaction has expired or is invalid`},
		{`kind is required for filter: .*`, `kind is required for non-__key__ filters`},
		{`kind is required for projection: .*`, `kind is required for non-__key__ filters`},
		{`Unexpected value meaning (.*)`, `Unknown value meaning (.*)`},
		{`Cannot project a property multiple times\.`, `cannot project a property multiple times`},
		{`The query namespace is '.*' but __key__ filter namespace is '.*'\.`, `__key__ filter namespace is .* but query namespace is .*`},
		{`IN requires an (?:non-empty )?ArrayValue\.`, `'IN' property filter for '.*' requires a non-empty ArrayValue`},
	} {
		all = append(all, [2]*regexp.Regexp{regexp.MustCompile("^" + pair[0] + "$"), regexp.MustCompile("^" + pair[1] + "$")})
	}
	return all
}()

var hexadecimal = regexp.MustCompile(`id: 0x[0-9a-f]+`)

// reference is a text about an entity with decimal identifiers, and with its
// letters in eight bits.
func reference(text string) string {
	if !strings.Contains(text, " app: ") {
		return text
	}
	text = hexadecimal.ReplaceAllStringFunc(text, func(s string) string {
		n, err := strconv.ParseUint(strings.TrimPrefix(s, "id: 0x"), 16, 64)
		if err != nil {
			return s
		}
		return fmt.Sprintf("id: %d", int64(n))
	})
	return strings.ReplaceAll(text, "é", `\351`)
}

// swapped matches texts about mismatched databases with the two the other way
// round.
func swapped(c *Case) bool {
	const prefix = "InvalidArgument: mismatched databases within request: "
	x, ours := strings.CutPrefix(c.Difference.Ours, prefix)
	y, theirs := strings.CutPrefix(c.Difference.Theirs, prefix)
	a, b, _ := strings.Cut(x, " vs. ")
	return ours && theirs && y == b+" vs. "+a
}

// groupByInequality is DS's text about inequalities beside distinct_on.
var groupByInequality = regexp.MustCompile(`^InvalidArgument: Inequality filter on \S+ must also be a group by property when group by properties are set\.$`)

// invalidProject matches texts about identifiers of projects.
var invalidProject = regexp.MustCompile(`^InvalidArgument: "[^"]*" is an invalid project id\.$`).MatchString
