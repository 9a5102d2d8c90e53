package transcode

import (
	"slices"
	"strings"
	"testing"
)

func TestTemplates(t *testing.T) {
	for _, test := range []struct {
		template, path string
		want           []string // nil: no match
	}{
		{"/v1/projects/{project_id}:lookup", "v1/projects/p", []string{"p"}},
		{"/v1/projects/{project_id}:lookup", "v1/projects/example.com:p", []string{"example.com:p"}},
		{"/v1/projects/{project_id}:lookup", "v1/projects/a%2Fb", []string{"a/b"}},
		{"/v1/projects/{project_id}:lookup", "v1/projects/", nil},
		{"/v1/projects/{project_id}:lookup", "v1/projects", nil},
		{"/v1/projects/{project_id}:lookup", "v1/projects/p/q", nil},
		{"/v1/projects/{project_id}:lookup", "v1//p", nil},
		{"/v1/projects/{project_id}:lookup", "v2/projects/p", nil},
		{"/v1/projects/{project_id}:lookup", "v%31/projects/p", []string{"p"}},
		{"/v2/{name=projects/*/locations/*/queues/*}", "v2/projects/p/locations/l/queues/q", []string{"projects/p/locations/l/queues/q"}},
		{"/v2/{name=projects/*/locations/*/queues/*}", "v2/projects/p/locations/l/queues/", nil},
		{"/v2/{name=projects/*/locations/*/queues/*}", "v2/projects/p/locations/l/tasks/q", nil},
		{"/v2/{name=projects/*/queues/*}", "v2/projects/a%20b/queues/c%2Fd", []string{"projects/a b/queues/c%2Fd"}},
		{"/v2/{name=projects/*/queues/*}", "v2/projects/a%252Fb/queues/c%2fd", []string{"projects/a%2Fb/queues/c%2fd"}},
		{"/v2/{queue.name=queues/*}/tasks/{id}", "v2/queues/q/tasks/t", []string{"queues/q", "t"}},
		{"/v1/{name=**}", "v1/a/b%2Fc/d", []string{"a/b%2Fc/d"}},
		{"/v1/{name=**}", "v1", []string{""}},
		{"/v1/{name=**}", "v1/", nil},
		{"/v1/{name=shelves/**}:get", "v1/shelves/1/books/2", []string{"shelves/1/books/2"}},
		{"/v1/*/x/**", "v1/anything/x/y/z", []string{}},
		{"/v1/*/x/**", "v1/anything/y", nil},
	} {
		tmpl, err := parseTemplate(test.template)
		if err != nil {
			t.Errorf("%s: %v", test.template, err)
			continue
		}
		got, ok := tmpl.match(strings.Split(test.path, "/"))
		if ok != (test.want != nil) || !slices.Equal(got, test.want) {
			t.Errorf("%s on %s: %q, %v; want %q", test.template, test.path, got, ok, test.want)
		}
	}
}

func TestBadTemplates(t *testing.T) {
	for template, rule := range map[string]string{
		"":                "must begin with /",
		"v1":              "must begin with /",
		"/":               "must not be empty",
		"/v1/":            "must not be empty",
		"/v1//x":          "must not be empty",
		"/v1/{}":          "must name a field",
		"/v1/{=a}":        "must name a field",
		"/v1/{a":          "has no }",
		"/v1/{a=b/{c}}":   "must not be empty",
		"/v1/{a=}":        "must not be empty",
		"/v1/**/x":        "** must be the last",
		"/v1/{a=**}/x":    "** must be the last",
		"/v1/x:":          "a verb must follow",
		"/v1/x:a:b":       `":b" is out of place`,
		"/v1/x*":          `"*" is out of place`,
		"/v1/x}":          `"}" is out of place`,
		"/v1/{a}{b}":      `"{b}" is out of place`,
		"/v1/***":         `"*" is out of place`,
		"/v1/x:verb/more": `"/more" is out of place`,
	} {
		if _, err := parseTemplate(template); err == nil || !strings.Contains(err.Error(), rule) || !strings.Contains(err.Error(), template) {
			t.Errorf("%q: %v; want the rule %q and the template", template, err, rule)
		}
	}
}

// FuzzTemplate: whatever parses matches a path that is made of it, and takes
// the variables' values out of it again.
func FuzzTemplate(f *testing.F) {
	for _, s := range []string{"/v1/projects/{project_id}:lookup", "/v2/{name=projects/*/queues/*}", "/{a.b=**}", "/**", "/a/*/{x=y/**}:z", "/{", "/a:b"} {
		f.Add(s, "v/w%2Fx")
	}
	f.Fuzz(func(t *testing.T, s, path string) {
		tmpl, err := parseTemplate(s)
		if err != nil {
			return
		}
		tmpl.match(strings.Split(path, "/"))
		var fits []string
		for _, seg := range tmpl.segments {
			if seg.kind == literal && strings.Contains(seg.literal, "%") {
				return // would be decoded
			}
			fits = append(fits, [...]string{seg.literal, "some", "more"}[seg.kind])
		}
		values, ok := tmpl.match(fits)
		if !ok || len(values) != len(tmpl.vars) {
			t.Fatalf("%q doesn't match %q", s, fits)
		}
		for i, v := range tmpl.vars {
			if want := strings.Join(fits[v.from:v.to], "/"); values[i] != want {
				t.Errorf("%q: %s is %q; want %q", s, v.field, values[i], want)
			}
		}
	})
}
