package list_test

import (
	"math"
	"math/rand/v2"
	"strings"
	"testing"
	"time"
	_ "time/tzdata" // the zones of the tests, whatever the machine has

	"github.com/stretchr/testify/require"

	"hsi.home.arpa/server/list"
)

func TestPage(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		rows   []int
		page   []int
		goesOn bool
	}{
		{nil, nil, false},
		{[]int{1}, []int{1}, false},
		{[]int{1, 2}, []int{1, 2}, false},
		{[]int{1, 2, 3}, []int{1, 2}, true},
	} {
		page, goesOn := list.Page(test.rows, 2)
		require.Equal(t, test.page, page)
		require.Equal(t, test.goesOn, goesOn)
	}
}

// TestCursors_ComeBackAsTheyWere: to the microsecond, and to the last bit of an id.
func TestCursors_ComeBackAsTheyWere(t *testing.T) {
	t.Parallel()
	cursors := list.CursorsOf("listThings", new("door"), 7)
	require.Equal(t, cursors, list.CursorsOf("listThings", new("door"), 7), "by value, also behind a pointer")
	random := rand.New(rand.NewPCG(1, 2))
	for i := range 1000 {
		at := time.UnixMicro(random.Int64N(math.MaxInt64) - math.MaxInt64/2).UTC()
		want := list.Position{At: at, ID: int64(random.Uint64())}
		if i == 0 {
			want = list.Position{At: time.Unix(0, 0).UTC(), ID: math.MinInt64}
		}
		text := cursors.Encode(want)
		require.Regexp(t, `^[A-Za-z0-9_-]{34}$`, text)
		got, err := cursors.Decode(&text)
		require.NoError(t, err)
		require.Equal(t, want, *got)
	}
	none, err := cursors.Decode(nil)
	require.NoError(t, err)
	require.Nil(t, none, "the first page")
}

func TestCursors_RefuseWhatIsNotTheirs(t *testing.T) {
	t.Parallel()
	door, seven := "door", 7
	cursors := list.CursorsOf("listThings", door, seven)
	position := list.Position{At: time.Unix(1766485800, 0), ID: 4711}
	text := cursors.Encode(position)
	refused := func(text string, want error) {
		t.Helper()
		_, err := cursors.Decode(&text)
		require.ErrorIs(t, err, want, text)
		var parameter *list.ParameterError
		require.ErrorAs(t, err, &parameter)
		require.Equal(t, "cursor", parameter.Name)
	}
	for _, malformed := range []string{
		"", "x", text[:33], text + "A", text + "=", " " + text, text + "\n", text[:10] + "\r\n" + text[10:],
		strings.Repeat("A", 34), "_" + text[1:], text[:33] + string(text[33]+1), "!" + text[1:],
		strings.Repeat("A", 10_000),
	} {
		refused(malformed, list.ErrMalformedCursor)
	}
	for _, other := range []list.Cursors{
		list.CursorsOf("listOthers", door, seven), list.CursorsOf("listThings", "yard", seven),
		list.CursorsOf("listThings", door, 8), list.CursorsOf("listThings", door),
		list.CursorsOf("listThings"), list.CursorsOf("listThings", `door" 7`),
		list.CursorsOf("listThings", door, "7"),
		{},
	} {
		refused(other.Encode(position), list.ErrForeignCursor)
	}
}

func TestRangeOf(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		start, end, zone string
		from, before     string // empty: no bound
	}{
		"nothing":          {},
		"a time":           {start: "2025-12-23T09:00:00Z", from: "2025-12-23T09:00:00Z"},
		"both inclusive":   {"2025-12-23T09:00:00Z", "2025-12-23T09:00:00Z", "", "2025-12-23T09:00:00Z", "2025-12-23T09:00:00.000001Z"},
		"between two µs":   {"2025-12-23T09:00:00.1234567Z", "2025-12-23T09:00:00.1234567Z", "", "2025-12-23T09:00:00.123457Z", "2025-12-23T09:00:00.123457Z"},
		"an offset":        {end: "2025-12-23T09:00:00-01:00", before: "2025-12-23T10:00:00.000001Z"},
		"no zone is UTC":   {start: "2025-12-23T09:00:00", zone: "Europe/Berlin", from: "2025-12-23T09:00:00Z"},
		"a day":            {"2025-12-23", "2025-12-23", "", "2025-12-23T00:00:00Z", "2025-12-24T00:00:00Z"},
		"a day elsewhere":  {"2025-12-23", "2025-12-23", "Europe/Berlin", "2025-12-22T23:00:00Z", "2025-12-23T23:00:00Z"},
		"23 hours":         {"2025-03-30", "2025-03-30", "Europe/Berlin", "2025-03-29T23:00:00Z", "2025-03-30T22:00:00Z"},
		"25 hours":         {"2025-10-26", "2025-10-26", "Europe/Berlin", "2025-10-25T22:00:00Z", "2025-10-26T23:00:00Z"},
		"midnight skipped": {"2024-09-08", "2024-09-07", "America/Santiago", "2024-09-08T04:00:00Z", "2024-09-08T04:00:00Z"},
		"midnight skipped, east": {
			"2021-03-28", "2021-03-27", "Asia/Beirut", "2021-03-27T22:00:00Z", "2021-03-27T22:00:00Z",
		},
		"midnight twice": {"2024-11-03", "2024-11-03", "America/Havana", "2024-11-03T04:00:00Z", "2024-11-04T05:00:00Z"},
		"midnight twice, east": {
			"2021-10-29", "2021-10-29", "Asia/Amman", "2021-10-28T21:00:00Z", "2021-10-29T22:00:00Z",
		},
		"midnight shown again as 23:00": {
			"2024-04-07", "2024-04-06", "America/Santiago", "2024-04-07T04:00:00Z", "2024-04-07T04:00:00Z",
		},
		"end of a year": {end: "2025-12-31", before: "2026-01-01T00:00:00Z"},
		"wrong order":   {"2025-12-24", "2025-12-22", "", "2025-12-24T00:00:00Z", "2025-12-23T00:00:00Z"},
		"leap second":   {start: "2016-12-31T23:59:60Z", from: "2017-01-01T00:00:00Z"},
		"the last day":  {end: "9999-12-31", before: "9999-12-31T23:59:59.999999Z"},
		"the last one elsewhere": {
			"9999-12-31T23:00:00-12:00", "9999-12-31", "America/New_York", "9999-12-31T23:59:59.999999Z", "9999-12-31T23:59:59.999999Z",
		},
		"the last second": {end: "9999-12-31T23:59:60Z", before: "9999-12-31T23:59:59.999999Z"},
		"the first day":   {"0000-01-01", "0000-01-01", "Asia/Tokyo", "0001-01-01T00:00:00Z", "0001-01-01T00:00:00Z"},
		"year 0":          {start: "0000-02-29T00:00:00Z", from: "0001-01-01T00:00:00Z"},
	} {
		zone, err := time.LoadLocation(test.zone)
		require.NoError(t, err)
		got, err := list.RangeOf(given(test.start), given(test.end), zone)
		require.NoError(t, err, name)
		require.Equal(t, test.from, written(got.From), name)
		require.Equal(t, test.before, written(got.Before), name)
		require.NotPanics(t, func() { list.CursorsOf("listThings", got) }, name)
	}
	for _, text := range []string{
		"2025-02-29", "2025-04-31", "2025-02-29T00:00:00Z", "2025-04-31T00:00:00", "2025-13-01", "yesterday!", "",
	} {
		for name, bounds := range map[string][2]*string{"start_date": {&text, nil}, "end_date": {nil, &text}} {
			_, err := list.RangeOf(bounds[0], bounds[1], time.UTC)
			require.ErrorIs(t, err, list.ErrNoSuchTime, text)
			require.ErrorContains(t, err, name)
		}
	}
}

func given(text string) *string {
	if text == "" {
		return nil
	}
	return &text
}

func written(at *time.Time) string {
	if at == nil {
		return ""
	}
	return at.Format(time.RFC3339Nano)
}
