package queue

import (
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func FuzzParseEntry(f *testing.F) {
	f.Add("id", "1", "1700000000000-0")
	f.Add("id", "-1", "0-0")
	f.Add("id", "9223372036854775808", "-")
	f.Add("job", "1", "18446744073709551615-18446744073709551615")
	f.Add("id", " 1", "x-y")
	f.Fuzz(func(t *testing.T, field, value, entry string) {
		id, err := parseEntry(map[string]string{field: value})
		if err == nil {
			require.Equal(t, idField, field)
			require.Positive(t, id)
			written, err := strconv.ParseInt(value, 10, 64)
			require.NoError(t, err)
			require.Equal(t, written, id)
		}
		parsed := parseEntryID(entry)
		require.False(t, parsed.before(parsed))
		require.False(t, parsed.time().Before(time.UnixMilli(0)))
	})
}

func TestEntryID_Order(t *testing.T) {
	t.Parallel()
	ordered := []string{"", "5-1", "5-2", "6-0", "1700000000000-0", "1700000000000-18446744073709551615"}
	for i, a := range ordered {
		for j, b := range ordered {
			require.Equal(t, i < j, parseEntryID(a).before(parseEntryID(b)), "%q %q", a, b)
		}
	}
}

func TestPauses_GrowAndAreBounded(t *testing.T) {
	t.Parallel()
	for _, pauses := range []Pauses{DefaultPauses(), {Shortest: time.Millisecond, Longest: 100 * time.Millisecond}, {Shortest: time.Second, Longest: time.Second}} {
		for failures := range 40 {
			got := pauses.after(failures)
			require.GreaterOrEqual(t, got, pauses.Shortest)
			require.LessOrEqual(t, got, pauses.Longest*5/4)
		}
		require.Less(t, pauses.after(0), pauses.Shortest*5/4+1)
		require.GreaterOrEqual(t, pauses.after(30), pauses.Longest)
	}
}
