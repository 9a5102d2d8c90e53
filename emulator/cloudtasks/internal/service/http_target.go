package service

import (
	"net"
	"strconv"
	"strings"

	"cloud.google.com/go/cloudtasks/apiv2/cloudtaskspb"
)

const maxPort = 65535

// checkHTTPTarget checks what a queue overrides in its HTTP tasks.
func checkHTTPTarget(t *cloudtaskspb.HttpTarget) error {
	if t == nil {
		return nil
	}
	if err := checkURIOverride(t.GetUriOverride()); err != nil {
		return err
	}
	if _, known := cloudtaskspb.HttpMethod_name[int32(t.GetHttpMethod())]; !known {
		return Invalid("HTTP method %d is not one of the API's.", int32(t.GetHttpMethod()))
	}
	headers := make(map[string]string, len(t.GetHeaderOverrides()))
	for _, override := range t.GetHeaderOverrides() {
		key := override.GetHeader().GetKey()
		if _, twice := header(headers, key); twice {
			return Invalid("HttpTarget.headerOverrides has the header %q twice.", key)
		}
		headers[key] = override.GetHeader().GetValue()
	}
	if err := checkHeaders(headers); err != nil {
		return err
	}
	if token := t.GetOidcToken(); token != nil {
		if err := needed("service_account_email", token.GetServiceAccountEmail(), "audience", token.GetAudience()); err != nil {
			return err
		}
	}
	if token := t.GetOauthToken(); token != nil {
		return needed("service_account_email", token.GetServiceAccountEmail(), "scope", token.GetScope())
	}
	return nil
}

// needed refuses fields of a token that are empty. pairs are names and values.
func needed(pairs ...string) error {
	for i := 0; i < len(pairs); i += 2 {
		if pairs[i+1] == "" {
			return Invalid("%s must be set.", pairs[i])
		}
	}
	return nil
}

func checkURIOverride(o *cloudtaskspb.UriOverride) error {
	if o == nil {
		return nil
	}
	switch {
	case o.Host != nil && o.GetHost() == "":
		return Invalid("UriOverride.host cannot be empty.")
	case strings.ContainsAny(o.GetHost(), "/?#@ \t\r\n"):
		return Invalid("UriOverride.host %q is not a host name.", o.GetHost())
	case len(o.GetHost())+len(o.GetPathOverride().GetPath())+len(o.GetQueryOverride().GetQueryParams()) > maxURL:
		return Invalid("UriOverride must make a URL of at most %d characters.", maxURL)
	case o.GetPort() < 0 || o.GetPort() > maxPort:
		return Invalid("UriOverride.port must be between 0 and %d, not %d.", maxPort, o.GetPort())
	}
	if _, known := cloudtaskspb.UriOverride_Scheme_name[int32(o.GetScheme())]; !known {
		return Invalid("UriOverride.scheme %d is not one of the API's.", int32(o.GetScheme()))
	}
	if _, known := cloudtaskspb.UriOverride_UriOverrideEnforceMode_name[int32(o.GetUriOverrideEnforceMode())]; !known {
		return Invalid("UriOverride.uriOverrideEnforceMode %d is not one of the API's.", int32(o.GetUriOverrideEnforceMode()))
	}
	return nil
}

// targetURL is the URL of a task that has none of its own. The queue must say
// the host.
func targetURL(t *cloudtaskspb.HttpTarget) (string, error) {
	o := t.GetUriOverride()
	if o.GetHost() == "" {
		return "", Invalid("BufferTask needs a queue with an httpTarget whose uriOverride has a host.")
	}
	url := "https://"
	if o.GetScheme() == cloudtaskspb.UriOverride_HTTP {
		url = "http://"
	}
	host := o.GetHost()
	if o.GetPort() > 0 {
		host = net.JoinHostPort(strings.Trim(host, "[]"), strconv.FormatInt(o.GetPort(), 10))
	}
	url += host
	if path := o.GetPathOverride().GetPath(); path != "" {
		url += "/" + strings.TrimPrefix(path, "/")
	}
	if query := o.GetQueryOverride().GetQueryParams(); query != "" {
		url += "?" + strings.TrimPrefix(query, "?")
	}
	return url, nil
}
