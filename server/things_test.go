package server

import (
	"cmp"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/labstack/echo/v4"
	"github.com/oapi-codegen/runtime"
	"github.com/stretchr/testify/require"

	"hsi.home.arpa/gen"
	"hsi.home.arpa/server/contracttest"
	"hsi.home.arpa/server/list"
)

// What no operation of the contract has yet is tested with operations of the tests' own, through
// the real edge, router, validator and binder: parameters in paths, lists with commas, cursors and
// time ranges.

// thingsAnswer says what an operation of the tests was asked.
type thingsAnswer struct {
	Operation string
	Path      map[string]string
	Levels    []gen.Severity
	IDs       []int64
	Kinds     []string
	Things    []int64
	Cursor    *string
}

// startThings starts a server of the operations of the tests. Handlers read their parameters as
// generated code does; one in handlers replaces the usual one, which answers with what it was
// asked.
func startThings(t *testing.T, handlers map[string]echo.HandlerFunc) *testServer {
	t.Helper()
	f := newFakes(t)
	s, err := New(f.options())
	require.NoError(t, err)
	doc := contracttest.WithThings(t)
	s.echo, err = s.router(doc, func(e *echo.Echo, around middlewares) {
		for path, item := range doc.Paths.Map() {
			if !strings.HasPrefix(path, "/test/") {
				continue
			}
			names := pathParameter.FindAllStringSubmatch(path, -1)
			for method, operation := range item.Operations() {
				id := operation.OperationID
				handler := handlers[id]
				if handler == nil {
					handler = func(c echo.Context) error { return answerThings(c, id, names) }
				}
				e.Add(method, pathParameter.ReplaceAllString(path, ":$1"), handler, around[id]...)
			}
		}
	})
	require.NoError(t, err)
	server := httptest.NewServer(s.Handler())
	t.Cleanup(server.Close)
	return &testServer{Client: server.Client(), server: s, url: server.URL, log: f.log}
}

func answerThings(c echo.Context, id string, names [][]string) error {
	answer := thingsAnswer{Operation: id, Path: map[string]string{}}
	for _, found := range names {
		var value string
		name := found[1]
		err := runtime.BindStyledParameterWithOptions("simple", name, c.Param(name), &value, runtime.BindStyledParameterOptions{
			ParamLocation: runtime.ParamLocationPath, Required: true, ValueIsUnescaped: c.Request().URL.RawPath == "",
		})
		if err != nil {
			return echo.NewHTTPError(http.StatusBadRequest, err.Error())
		}
		answer.Path[name] = value
	}
	for name, into := range map[string]any{"risk_level": &answer.Levels, "ids": &answer.IDs, "kinds": &answer.Kinds} {
		err := runtime.BindQueryParameterWithOptions("form", false, false, name, c.QueryParams(), into, runtime.BindQueryParameterOptions{})
		if err != nil {
			return echo.NewHTTPError(http.StatusBadRequest, err.Error())
		}
	}
	return c.JSON(http.StatusOK, answer)
}

func (a answer) things(t *testing.T) thingsAnswer {
	t.Helper()
	a.want(t, http.StatusOK)
	var things thingsAnswer
	require.NoError(t, json.Unmarshal(a.body, &things))
	return things
}

// wantInvalid fails the test unless the answer is a 422 that names these places and no others.
func (a answer) wantInvalid(t *testing.T, places ...string) {
	t.Helper()
	a.want(t, http.StatusUnprocessableEntity)
	var body gen.ValidationError
	require.NoError(t, json.Unmarshal(a.body, &body))
	var got []string
	for _, item := range body.Detail {
		got = append(got, strings.Join(item.Loc, " "))
		require.NotEmpty(t, item.Msg)
		require.NotEmpty(t, item.Type)
	}
	require.ElementsMatch(t, places, got, "%s", a.body)
	require.Less(t, len(a.body), 2000)
}

func TestPathParameters(t *testing.T) {
	t.Parallel()
	s := startThings(t, nil)
	for target, want := range map[string]string{
		"1": "1", "4711": "4711", "%31%32": "12", "9007199254740991": "9007199254740991",
	} {
		got := s.get(t, "/test/things/"+target).things(t)
		require.Equal(t, "getThing", got.Operation)
		require.Equal(t, map[string]string{"thing_id": want}, got.Path, target)
	}
	for _, target := range []string{
		"0", "-1", "-0", "+5", "%2B5", "007", "1.0", "1e3", "0x10", "1_0", "x", "null", "%20", "5%20", "5%0a", "5%00", "%00", "%D9%A1", "%ff", "%C0%80",
		"9007199254740992", "9223372036854775808", "99999999999999999999", "1%2F2", "%2F", "%2f1", "1%2f", "%25", "1%2531", ".", "..", "%2e%2e", "1,2", "1;2",
		"..%2F..%2Fetc%2Fpasswd", strings.Repeat("9", 5000), "{thing_id}", "🐈",
	} {
		s.get(t, "/test/things/"+target).wantInvalid(t, "path thing_id")
		s.send(t, http.MethodPatch, "/test/things/"+target, `{}`).wantInvalid(t, "path thing_id")
	}
	// Another path is another path, and says so before the method is looked at.
	for _, target := range []string{"", "1/", "1/2", "1//2", "1/2%2F3", "newest/", "newest/1"} {
		s.get(t, "/test/things/"+target).want(t, http.StatusNotFound)
		s.send(t, http.MethodDelete, "/test/things/"+target, "").want(t, http.StatusNotFound)
	}
	for _, target := range []string{"/TEST/things/1", "//test/things/1", "/test//things/1", "/test%2Fthings/1", "/test/things%2F1", "/test/thing/1"} {
		s.get(t, target).want(t, http.StatusNotFound)
	}
	s.get(t, "/%74est/thin%67s/%31").want(t, http.StatusOK)
	s.send(t, http.MethodHead, "/test/things/1", "").want(t, http.StatusOK)
	s.send(t, http.MethodHead, "/test/things/x", "").want(t, http.StatusUnprocessableEntity)

	got := s.send(t, http.MethodDelete, "/test/things/1", "").want(t, http.StatusMethodNotAllowed)
	require.ElementsMatch(t, []string{"GET", "HEAD", "PATCH"}, strings.Split(got.Header.Get("Allow"), ", "))
	s.send(t, http.MethodDelete, "/test/things/x", "").want(t, http.StatusMethodNotAllowed)
	s.send(t, http.MethodOptions, "/test/things/1", "").want(t, http.StatusMethodNotAllowed)

	// A literal path is itself with every method, and not the value of a parameter.
	require.Equal(t, "getNewestThing", s.get(t, "/test/things/newest").things(t).Operation)
	require.Equal(t, "getNewestThing", s.get(t, "/test/things/newes%74").things(t).Operation)
	for _, target := range []string{"/test/things/newest", "/test/things/%6eewest"} {
		got = s.send(t, http.MethodPatch, target, `{}`).want(t, http.StatusMethodNotAllowed)
		require.Equal(t, "GET, HEAD", got.Header.Get("Allow"))
	}

	// Everything that is wrong is named at once.
	s.send(t, http.MethodPatch, "/test/things/0?x=1", `{"y":1}`).wantInvalid(t, "path thing_id", "query x", "body y")
	wrong := s.get(t, "/test/things/007").want(t, http.StatusUnprocessableEntity)
	require.JSONEq(t, `{"detail":[{"loc":["path","thing_id"],"msg":"must be an integer in plain decimal digits","type":"type"}]}`, string(wrong.body))
}

// TestPathParameters_Texts: a value is decoded once, whatever is in it, and a pattern keeps it in
// form.
func TestPathParameters_Texts(t *testing.T) {
	t.Parallel()
	s := startThings(t, nil)
	for target, want := range map[string]string{
		"a": "a", "a.jpg": "a.jpg", "%61": "a", "a%20b": "a b", "a+b": "a+b", "a%2Bb": "a+b", "%25": "%", "%2525": "%25", "%252F": "%2F", "a%2Fb": "a/b",
		"a%2fb%252fc%25": "a/b%2fc%", "%2F": "/", "%2F%2F": "//", "..%2F..%2Fetc": "../../etc", "..": "..", "%2e%2e": "..", "%3Fx=1%23y": "?x=1#y",
		"a;b,c:d@e=f&g!": "a;b,c:d@e=f&g!", "%F0%9F%93%B7": "📷", "%C3%A9%2F%C3%A9": "é/é", "%5C": `\`, "%7Bname%7D": "{name}", ":name": ":name", "*": "*",
	} {
		got := s.get(t, "/test/files/"+target).things(t)
		require.Equal(t, map[string]string{"name": want}, got.Path, target)
		got = s.get(t, "/%74est/files/"+target).things(t)
		require.Equal(t, map[string]string{"name": want}, got.Path, target)
	}
	s.get(t, "/test/files/"+strings.Repeat("%2F", 100)).want(t, http.StatusOK)
	s.get(t, "/test/files/"+strings.Repeat("%2F", 101)).wantInvalid(t, "path name")
	for _, target := range []string{"%00", "a%00b", "a%2F%00", "%ff", "a%2F%ff", strings.Repeat("x", 101), strings.Repeat("%C3%A9", 101)} {
		s.get(t, "/test/files/"+target).wantInvalid(t, "path name")
	}
	got := s.get(t, "/test/rooms/front_door/things/high?q=x").things(t)
	require.Equal(t, map[string]string{"room_id": "front_door", "kind": "high"}, got.Path)
	s.get(t, "/test/rooms/a%2Fb/things/higher").wantInvalid(t, "path room_id", "path kind", "query q")
	s.get(t, "/test/rooms/Front/things/high?q=").wantInvalid(t, "path room_id", "query q")
	s.send(t, http.MethodDelete, "/test/rooms//things/high", "").want(t, http.StatusNotFound)
	for _, target := range []string{"/test/rooms//things/high", "/test/rooms/a/things/", "/test/rooms/a/b/things/high", "/test/rooms/a/things/high/"} {
		s.get(t, target+"?q=x").want(t, http.StatusNotFound)
	}
}

func TestCommaLists(t *testing.T) {
	t.Parallel()
	s := startThings(t, nil)
	got := s.get(t, "/test/things?risk_level=high,critical&ids=3,1,9007199254740991&kinds=cat").things(t)
	require.Equal(t, []gen.Severity{gen.SeverityHigh, gen.SeverityCritical}, got.Levels)
	require.Equal(t, []int64{3, 1, 9007199254740991}, got.IDs)
	require.Equal(t, []string{"cat"}, got.Kinds)
	got = s.get(t, "/test/things?risk_level=low%2Chigh").things(t)
	require.Equal(t, []gen.Severity{gen.SeverityLow, gen.SeverityHigh}, got.Levels)
	require.Nil(t, got.IDs)
	hundred := make([]string, 100)
	for i := range hundred {
		hundred[i] = fmt.Sprint(i + 1)
	}
	all := strings.Join(hundred, ",")
	require.Len(t, s.get(t, "/test/things?ids="+all).things(t).IDs, 100)

	for query, place := range map[string]string{
		"ids=1,,2":                            "query ids 1",
		"risk_level=":                         "query risk_level",
		"risk_level":                          "query risk_level",
		"risk_level=severe":                   "query risk_level 0",
		"risk_level=high,severe":              "query risk_level 1",
		"risk_level=HIGH":                     "query risk_level 0",
		"risk_level=high,%20low":              "query risk_level 1",
		"risk_level=high,":                    "query risk_level 1",
		"risk_level=high,,low":                "query risk_level 1",
		"risk_level=,high":                    "query risk_level 0",
		"risk_level=high,high":                "query risk_level",
		"risk_level=high&risk_level=low":      "query risk_level",
		"risk_level[]=high":                   "query risk_level[]",
		"risk_level=low,medium,high,critical": "query risk_level",
		"risk_level=high|low":                 "query risk_level 0",
		"risk_level=high,%ff":                 "query risk_level",
		"kinds=cat,dog2":                      "query kinds 1",
		"kinds=" + strings.Repeat("x", 21):    "query kinds 0",
		"ids=1,2,2":                           "query ids",
		"ids=0":                               "query ids 0",
		"ids=1,9007199254740992":              "query ids 1",
		"ids=1,2.0":                           "query ids 1",
		"ids=%2B1":                            "query ids 0",
		"ids=1,02":                            "query ids 1",
		"ids=1,x":                             "query ids 1",
		"ids=1,99999999999999999999":          "query ids 1",
		"ids=" + all + ",":                    "query ids 100",
		"ids=" + all + ",101":                 "query ids",
	} {
		got := s.get(t, "/test/things?"+query).want(t, http.StatusUnprocessableEntity)
		require.Contains(t, string(got.body), loc(place), query)
	}
	// A long list of faults does not make a long answer.
	long := s.get(t, "/test/things?ids="+strings.Repeat("x,", 10_000)).want(t, http.StatusUnprocessableEntity)
	require.Equal(t, maxItems, strings.Count(string(long.body), `"loc"`))
}

// loc is how an answer writes a place.
func loc(place string) string {
	text, _ := json.Marshal(strings.Split(place, " ")) // texts can be written
	return `"loc":` + string(text)
}

// thing is a row of a list.
type thing struct {
	at time.Time
	id int64
}

// listThings is what a handler of a list does, over rows in memory, newest first.
func listThings(things *[]thing) echo.HandlerFunc {
	return func(c echo.Context) error {
		param := func(name string) *string {
			if text := c.QueryParam(name); text != "" {
				return &text
			}
			return nil
		}
		var limit int
		if _, err := fmt.Sscan(c.QueryParam("limit"), &limit); err != nil {
			return err
		}
		within, err := list.RangeOf(param("start_date"), param("end_date"), time.UTC)
		if err != nil {
			return err
		}
		cursors := list.CursorsOf("listThings", within, param("risk_level"))
		after, err := cursors.Decode(param("cursor"))
		if err != nil {
			return err
		}
		var rows []thing
		for _, row := range *things {
			isBehind := after == nil || row.at.Before(after.At) || row.at.Equal(after.At) && row.id < after.ID
			isWithin := (within.From == nil || !row.at.Before(*within.From)) && (within.Before == nil || row.at.Before(*within.Before))
			if isBehind && isWithin && len(rows) <= limit {
				rows = append(rows, row)
			}
		}
		page, goesOn := list.Page(rows, limit)
		answer := thingsAnswer{Things: []int64{}}
		for _, row := range page {
			answer.Things = append(answer.Things, row.id)
		}
		if goesOn {
			last := page[len(page)-1]
			answer.Cursor = new(cursors.Encode(list.Position{At: last.at, ID: last.id}))
		}
		return c.JSON(http.StatusOK, answer)
	}
}

// TestLists: the vocabulary of lists as a client meets it. A page goes on where the one before
// ended, also when rows come and go.
func TestLists(t *testing.T) {
	t.Parallel()
	began := at(t, "2025-12-23T09:00:00Z")
	var things []thing
	add := func(id int64, microseconds int) {
		things = append(things, thing{began.Add(time.Duration(microseconds) * time.Microsecond), id})
		slices.SortFunc(things, func(a, b thing) int { return cmp.Or(b.at.Compare(a.at), cmp.Compare(b.id, a.id)) })
	}
	for id := range int64(7) {
		add(id+1, int(id)/3) // three of one time
	}
	s := startThings(t, map[string]echo.HandlerFunc{"listThings": listThings(&things)})
	page := func(query string) thingsAnswer { return s.get(t, "/test/things"+query).things(t) }

	first := page("?limit=2")
	require.Equal(t, []int64{7, 6}, first.Things)
	add(8, 100) // newer than all
	things = slices.DeleteFunc(things, func(row thing) bool { return row.id == 6 })
	second := page("?limit=2&cursor=" + *first.Cursor)
	require.Equal(t, []int64{5, 4}, second.Things)
	third := page("?limit=3&cursor=" + *second.Cursor) // the page's size may change
	require.Equal(t, []int64{3, 2, 1}, third.Things)
	require.Nil(t, third.Cursor, "the last page")
	require.Len(t, page("").Things, 7)
	require.Equal(t, []int64{5, 4}, page("?start_date=2025-12-23T09:00:00.000001Z&end_date=2025-12-23T09:00:00.000001Z").Things)
	require.Len(t, page("?start_date=2025-12-23&end_date=2025-12-23").Things, 7)
	require.Empty(t, page("?end_date=2025-12-22").Things)
	require.Empty(t, page("?start_date=2025-12-24&end_date=2025-12-22").Things, "the wrong order is an empty range")

	for query, want := range map[string]string{
		"limit=0": "limit", "limit=1001": "limit", "limit=": "limit", "limit=+5": "limit",
		"cursor=": "cursor", "cursor=x": "cursor", "cursor=" + strings.Repeat("A", 34): "cursor", "cursor=" + strings.Repeat("A", 201): "cursor",
		"cursor=" + *first.Cursor + "A": "cursor", "cursor=" + url.QueryEscape(*first.Cursor+"\n"): "cursor",
		"cursor=" + *first.Cursor + "&cursor=" + *first.Cursor: "cursor",
		"cursor=" + *first.Cursor + "&risk_level=high":         "cursor",
		"cursor=" + *first.Cursor + "&start_date=2025-12-23":   "cursor",
		"start_date=2025-02-29":                                "start_date", "start_date=yesterday": "start_date", "start_date=2025-12-23T24:00:00Z": "start_date",
		"end_date=2025-02-30T00:00:00Z": "end_date", "end_date=": "end_date", "end_date=2025-12-23T09:00:00+01:00": "end_date", "end_date=%ff": "end_date",
	} {
		s.get(t, "/test/things?"+query).wantInvalid(t, "query "+want)
	}
	got := s.get(t, "/test/things?risk_level=high&cursor="+*first.Cursor).want(t, http.StatusUnprocessableEntity)
	require.JSONEq(t, `{"detail":[{"loc":["query","cursor"],"msg":"is the cursor of another list, or of other filters","type":"foreign"}]}`, string(got.body))
	got = s.get(t, "/test/things?start_date=someday").want(t, http.StatusUnprocessableEntity)
	require.Contains(t, string(got.body), "does not have the documented form, such as 2025-12-23")
}

// TestNewValidator_RefusesWhatItCannotCheck: the contract cannot outgrow the validator unnoticed.
func TestNewValidator_RefusesWhatItCannotCheck(t *testing.T) {
	t.Parallel()
	for want, change := range map[string]func(*openapi3.Parameter){
		"does not know it in header": func(p *openapi3.Parameter) { p.In = openapi3.ParameterInHeader },
		"does not know it in path":   func(p *openapi3.Parameter) { p.In = openapi3.ParameterInPath },
		"only lists with commas":     func(p *openapi3.Parameter) { p.Explode = nil },
		"knows no objects":           func(p *openapi3.Parameter) { p.Schema.Value.Type = &openapi3.Types{openapi3.TypeObject} },
	} {
		doc := contracttest.WithThings(t)
		change(doc.Paths.Value("/test/things").Get.Parameters.GetByInAndName(openapi3.ParameterInQuery, "kinds"))
		_, err := operations(doc)
		require.ErrorContains(t, err, "listThings: parameter kinds: ")
		require.ErrorContains(t, err, want)
	}
}
