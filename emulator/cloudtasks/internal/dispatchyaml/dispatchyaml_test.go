package dispatchyaml

import "testing"

func TestRoute(t *testing.T) {
	rules, err := Parse([]byte(`
dispatch:
  - url: "*/favicon.ico"
    service: default
  - url: "simple-sample.example.com/"
    service: front
  - url: "*/mobile/*"
    module: mobile-frontend
  - {url: "*.example.com/api/*", service: api}
  - {url: "*-x.example.com/*", service: x}
`))
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct{ host, path, want string }{
		{"anything", "/favicon.ico", "default"},
		{"anything", "/favicon.ico2", ""},
		{"simple-sample.example.com", "/", "front"},
		{"simple-sample.example.com", "/x", ""},
		{"Simple-Sample.Example.com", "/", "front"},
		{"h", "/mobile/", "mobile-frontend"},
		{"h", "/mobile/a/b", "mobile-frontend"},
		{"h", "/mobile", ""},
		{"www.example.com", "/api/1", "api"},
		{"example.com", "/api/1", ""},
		{"a-x.example.com", "/1", "x"},
	} {
		if got := rules.Route(test.host, test.path); got != test.want {
			t.Errorf("%s%s goes to %q, want %q", test.host, test.path, got, test.want)
		}
	}
	if got := Rules(nil).Route("h", "/"); got != "" {
		t.Errorf("without rules: %q", got)
	}
}

func TestErrors(t *testing.T) {
	rule := func(url string) string { return "dispatch:\n- url: '" + url + "'\n  service: s\n" }
	for _, test := range []struct{ text, want string }{
		{"rules: []", `line 1: the file has an unknown field "rules": there is dispatch, application`},
		{rule("example.com"), `line 2: url "example.com": must be a host and a path, such as */mobile/*`},
		{rule("/path"), `line 2: url "/path": must be a host and a path, such as */mobile/*`},
		{rule("a*b/x"), `line 2: invalid host_pattern "a*b"`},
		{rule("127.0.0.1/x"), `line 2: invalid host_pattern "127.0.0.1"`},
		{rule("UPPER/x"), `line 2: invalid host_pattern "UPPER"`},
		{"dispatch:\n- url: '*/x'\n", "line 2: a rule lacks its service"},
		{"dispatch:\n- service: s\n", "line 2: a rule lacks its url"},
		{"dispatch:\n- {url: '*/x', service: s, module: m}\n", "line 2: a rule has a service or a module, which is the same, not both"},
		{"dispatch:\n- {url: '*/x', service: S}\n", `line 2: service "S": must be 1 to 63 lower-case letters, digits and hyphens`},
	} {
		if _, err := Parse([]byte(test.text)); err == nil || err.Error() != test.want {
			t.Errorf("Parse(%q): %v\nwant %s", test.text, err, test.want)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte("dispatch:\n- {url: '*.a.b/c*', service: s}\n- {url: a/, module: m}"), "x.a.b", "/cd")
	f.Fuzz(func(t *testing.T, text []byte, host, path string) {
		rules, err := Parse(text)
		if err != nil {
			return
		}
		if service := rules.Route(host, path); service != "" && len(rules) == 0 {
			t.Errorf("%q has no rules, and routes to %q", text, service)
		}
	})
}
