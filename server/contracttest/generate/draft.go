package generate

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/getkin/kin-openapi/openapi3"
)

// MaxBodyBytes is the size of the largest body that the contract lets pass: 64 kB.
const MaxBodyBytes = 64 << 10

// draft is a request in the making and what was made wrong with it.
type draft struct {
	maker
	Request

	op       *operation
	settings Settings

	pairs  []pair // of the query
	fields []member

	filled string // the path with right values in it

	badHost, badOrigin, badPath, badMethod, badKey, badSize, badType, badQuery, badBody, preflight bool

	badParameter bool // in the path
	badRange     bool
	byCookie     bool // a session does instead of the key
}

// start makes a right request.
func (d *draft) start() {
	d.OperationID, d.Method, d.Header = d.op.id, d.op.method, http.Header{}
	d.filled = d.op.path
	for _, parameter := range d.op.inPath {
		d.filled = d.fill(d.filled, parameter, d.text(parameter.Schema.Value, parameter))
	}
	d.Path = d.filled
	for _, parameter := range d.op.query {
		if (parameter.Required || d.one(2)) && canMake(parameter) {
			d.pairs = append(d.pairs, pair{parameter.Name, d.text(parameter.Schema.Value, parameter)})
		}
	}
	if d.op.isSpan {
		d.setSpan(30 * 24 * time.Hour) // short enough for both lengths of a row
	}
	if d.op.body != nil {
		d.fields = d.members(d.op.body)
		d.Header.Set("Content-Type", d.of([]string{
			"application/json", "application/json", "application/json; charset=utf-8", "Application/JSON", `application/json;charset="UTF-8"`,
		}))
		d.Chunked = d.one(4)
	}
	d.decorate()
	if d.op.needsKey && d.settings.APIKey != "" {
		d.identify()
	}
}

// identify sends the key, or the session that stands for it.
func (d *draft) identify() {
	if d.settings.Session == "" || !d.op.takesSession || d.one(2) {
		d.Header.Set("X-Api-Key", d.settings.APIKey)
		return
	}
	d.byCookie = true
	d.Header.Set("Cookie", d.settings.Session)
	if d.op.reads {
		return
	}
	d.Header.Del("Origin")
	d.Header.Set("Sec-Fetch-Site", "same-origin")
	if d.Host != "" && d.one(2) {
		d.Header.Del("Sec-Fetch-Site")
		d.Header.Set("Origin", "http://"+d.Host)
	}
}

// setSpan replaces the times of a request by two that are as far apart, or closer, or in the wrong
// order; or it drops the first one. One without an end would end now, which nobody knows here.
func (d *draft) setSpan(longest time.Duration) {
	hasEnd := slices.ContainsFunc(d.pairs, func(p pair) bool { return p.name == "end_date" })
	hasStart := slices.ContainsFunc(d.pairs, func(p pair) bool { return p.name == "start_date" })
	d.pairs = slices.DeleteFunc(d.pairs, func(p pair) bool { return p.name == "start_date" })
	if !hasStart || !hasEnd {
		return
	}
	d.pairs = slices.DeleteFunc(d.pairs, func(p pair) bool { return p.name == "end_date" })
	end := time.Date(1+d.IntN(9_998), time.Month(1+d.IntN(12)), 1+d.IntN(28), 12, 0, 0, 0, time.UTC)
	start := end.Add(time.Duration(d.Int64N(int64(longest))) - longest + 24*time.Hour) // days are whole
	if d.one(6) {
		start = end.Add(time.Duration(d.Int64N(int64(longest))))
	}
	layout := d.of([]string{time.DateOnly, "2006-01-02T15:04:05Z"})
	d.pairs = append(d.pairs, pair{"start_date", start.Format(layout)}, pair{"end_date", end.Format(layout)})
}

// decorate adds what changes nothing.
func (d *draft) decorate() {
	if d.op.reads && d.one(5) {
		d.Method = http.MethodHead
	}
	if d.one(8) { // the same path in another writing
		i := 1 + d.IntN(len(d.Path)-1)
		isEscaped := strings.Contains(d.Path[max(i-2, 0):i+1], "%")
		if d.Path[i] != '/' && !isEscaped {
			d.Path = d.Path[:i] + fmt.Sprintf("%%%02x", d.Path[i]) + d.Path[i+1:]
		}
	}
	if d.one(6) {
		d.Host = d.of([]string{
			"localhost", "LOCALHOST:1", "127.0.0.1:65535", "10.1.2.3", "[::1]", "[2001:db8::7]:8000", "printer", "printer:80", "localhost.",
			d.settings.AllowedHost, strings.ToUpper(d.settings.AllowedHost) + ":8443",
		})
		if !d.op.reads && d.one(2) {
			d.Header.Set("Origin", "http://"+d.Host)
		}
	}
	if d.one(6) {
		d.Header.Set("Sec-Fetch-Site", d.of([]string{"same-origin", "none"}))
	}
	if d.one(8) {
		d.Header.Set("Origin", d.settings.TrustedOrigin)
		d.Header.Set("Sec-Fetch-Site", d.of([]string{"cross-site", "same-site"}))
	}
	if d.one(6) {
		d.Header.Set("X-Request-Id", d.of([]string{"a", "A.b_c-9", strings.Repeat("x", 64)}))
	}
	if d.one(20) {
		d.Header.Set("X-Request-Id", d.of([]string{"", "a b", "<x>", "\xff", strings.Repeat("x", 65)}))
	}
	if d.one(8) {
		d.Header.Set("User-Agent", d.of([]string{"", "curl/8", "\xc3\x28 \xff\xfe", strings.Repeat("é", 900), "a\tb"}))
	}
	for _, header := range []struct {
		name   string
		values []string
	}{
		{"Accept", []string{"text/html", "application/xml;q=0.9", "*/*", "rubbish"}},
		{"Accept-Encoding", []string{"gzip, br", "identity;q=0"}},
		{"X-Forwarded-For", []string{"192.0.2.7", "rubbish"}},
		{"Cookie", []string{"a=b"}},
		{"If-None-Match", []string{"*", `"x"`, "rubbish"}},
		{"Range", []string{"bytes=0-1"}},
		{"X-Http-Method-Override", []string{"DELETE"}},
		{"Content-Language", []string{"tlh"}},
	} {
		if header.name == "X-Forwarded-For" && d.op.private && d.settings.APIKey == "" {
			continue // from elsewhere nobody gets these without a key
		}
		if d.one(12) {
			d.Header.Set(header.name, d.of(header.values))
		}
	}
	if d.op.statuses[http.StatusPartialContent] && d.one(2) {
		d.Header.Set("Range", d.of([]string{"bytes=0-", "bytes=0-1", "bytes=1-1", "bytes=-5", "bytes=0-99999999999", "bytes=0-1,3-4", "lines=1-2"}))
		if d.one(4) {
			d.Header.Set("If-Range", d.of([]string{`"x"`, "rubbish"}))
		}
	}
	if d.op.reads && d.one(10) { // a body that nobody asked for is not read
		d.Body = []byte(d.of([]string{"{}", "null", "{\"half", "\xff", strings.Repeat("x", MaxBodyBytes+1)}))
	}
	if !d.op.needsKey || d.settings.APIKey == "" {
		if d.one(10) {
			d.Header.Set("X-Api-Key", d.of([]string{"", "wrong", "\xff"}))
		}
	}
}

// fill puts the value of a parameter into a path, each character as itself or percent-encoded.
func (d *draft) fill(path string, parameter *openapi3.Parameter, value string) string {
	escaped := url.PathEscape(value)
	if d.one(4) && len(value) < 100 {
		escaped = ""
		for i := range len(value) {
			escaped += fmt.Sprintf("%%%02x", value[i])
		}
	}
	return strings.Replace(path, "{"+parameter.Name+"}", escaped, 1)
}

// finish writes query and body and says what must become of the request.
func (d *draft) finish() {
	if d.Query == "" {
		d.Query = d.encode(d.pairs)
	}
	if d.op.body != nil && d.Body == nil {
		d.Body = []byte(d.object(d.fields))
		if d.one(20) { // as long as it may be
			d.Body = append(d.Body, strings.Repeat(" ", MaxBodyBytes-len(d.Body))...)
		}
	}
	if d.badSize {
		d.Body = append(d.Body, strings.Repeat(d.of([]string{" ", "x", "\x00"}), MaxBodyBytes+1+d.IntN(3000)-min(len(d.Body), MaxBodyBytes))...)
	}
	d.Statuses = d.expected()
	unprocessable := slices.Equal(d.Statuses, []int{http.StatusUnprocessableEntity})
	if len(d.Faults) != 1 || !unprocessable || d.Method == http.MethodHead {
		d.Field = nil
	}
	if slices.Equal(d.Statuses, []int{http.StatusMethodNotAllowed}) {
		d.Allow = d.op.methods
	}
	if slices.Equal(d.Statuses, d.op.success) {
		d.Faults = nil // what is wrong is nobody's business here
		d.Writes = !d.op.reads || d.op.records
		d.Statuses = d.ofConditions()
	}
}

// ofConditions are the answers to a right request with conditions.
func (d *draft) ofConditions() []int {
	isKnown := d.op.statuses[http.StatusNotModified] && d.Header.Get("If-None-Match") == "*"
	if !d.op.statuses[http.StatusPartialContent] {
		if isKnown {
			return append(slices.Clone(d.op.success), http.StatusNotModified)
		}
		return d.op.success
	}
	answer := http.StatusOK
	asked := d.Header.Get("Range")
	isOne := strings.HasPrefix(asked, "bytes=") && !strings.Contains(asked, ",")
	switch {
	case isKnown:
		answer = http.StatusNotModified
	case isOne && d.Header.Get("If-Range") == "":
		answer = http.StatusPartialContent
	}
	return []int{answer, http.StatusNotFound, http.StatusGone}
}

// refused are the answers to a request without the right key.
func (d *draft) refused() []int {
	if d.settings.APIKey == "" {
		return []int{http.StatusForbidden}
	}
	if keys := d.Header["X-Api-Key"]; len(keys) > 1 || len(keys) == 1 && keys[0] != "" {
		return []int{http.StatusUnauthorized, http.StatusTooManyRequests} // how many came before is not known here
	}
	return []int{http.StatusUnauthorized}
}

// expected goes through the order that the contract promises: Host, cross-origin, 404, 405, 401,
// 413 and 415, 422, and a part that the file does not have last.
func (d *draft) expected() []int {
	isProbe := !d.op.statuses[http.StatusMisdirectedRequest] && !d.badPath
	switch {
	case d.badHost && !isProbe:
		return []int{http.StatusMisdirectedRequest}
	case d.badOrigin && !slices.Contains([]string{http.MethodGet, http.MethodHead, http.MethodOptions}, d.Method):
		return []int{http.StatusForbidden}
	case d.preflight:
		return []int{http.StatusNoContent}
	case d.badPath:
		return []int{http.StatusNotFound}
	case d.badMethod:
		return []int{http.StatusMethodNotAllowed}
	case d.badKey && d.op.needsKey && (d.settings.APIKey != "" || d.op.private):
		return d.refused()
	}
	tooLarge := d.badSize && d.op.statuses[http.StatusRequestEntityTooLarge]
	wrongType := d.badType && d.op.statuses[http.StatusUnsupportedMediaType]
	switch {
	case tooLarge && wrongType:
		return []int{http.StatusRequestEntityTooLarge, http.StatusUnsupportedMediaType}
	case tooLarge:
		return []int{http.StatusRequestEntityTooLarge}
	case wrongType:
		return []int{http.StatusUnsupportedMediaType}
	case (d.badParameter || d.badQuery || d.badBody) && d.op.statuses[http.StatusUnprocessableEntity]:
		return []int{http.StatusUnprocessableEntity}
	case d.badRange:
		return []int{http.StatusRequestedRangeNotSatisfiable, http.StatusNotFound, http.StatusGone}
	}
	return d.op.success
}
