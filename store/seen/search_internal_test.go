package seen

import (
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"hsi.home.arpa/store/storetest"
)

// TestMustFit: what is left of a query is needed, whatever the name adds.
func TestMustFit(t *testing.T) {
	t.Parallel()
	name := []string{"place", "door's"}
	for asked, want := range map[string]string{
		`'place' & 'person'`:                            `'person'`,
		`'place'`:                                       ``,
		`'person' & !'door'`:                            `'person' & !'door'`,
		`'place' & !( 'a' <-> 'b' )`:                    `!( 'a' <-> 'b' )`,
		`!'place' & 'person' | 'dog'`:                   `'dog'`,
		`'person' & !( 'a' <-> 'place' )`:               `'person'`,
		`'person' | 'place'`:                            ``,
		`'person' & 'place' | 'dog'`:                    `'person' | 'dog'`,
		`'front' <-> 'place' & 'a''b' <2> 'c'`:          `'a''b' <2> 'c'`,
		`'door''s' & 'c'`:                               `'c'`,
		`'x' & 'a' <-> ( 'b-c' & 'b' & 'c' ) & 'place'`: ``,
		``: ``,
	} {
		got, possible := mustFit(asked, name)
		require.True(t, possible, asked)
		require.Equal(t, want, got, asked)
	}
	_, possible := mustFit(`!'place' & 'person' | 'x' & !'door''s'`, name)
	require.False(t, possible)
}

// TestSearch_NamesAreWordsOfTheirEvents: whatever is asked for, that is found which fits with the
// camera's name behind the event's own words.
func TestSearch_NamesAreWordsOfTheirEvents(t *testing.T) {
	t.Parallel()
	db := storetest.New(t)
	for _, query := range []string{
		`INSERT INTO cameras (id, name, folder_path) VALUES ('a', 'Front door', '/a'),
			('b', 'Back door', '/b'), ('c', 'Person''s cat', '/c'), ('d', 'Attic', '/d')`,
		`INSERT INTO events (camera_id, started_at, summary)
			SELECT camera, now() - i * interval '1 minute', summary
			FROM unnest(ARRAY['a', 'b', 'c', 'd']) AS camera,
				unnest(ARRAY['A person', 'A cat at the front', 'The back', 'Front door', 'Nothing'])
				WITH ORDINALITY AS s (summary, i)`,
	} {
		_, err := db.SQL().ExecContext(t.Context(), query)
		require.NoError(t, err)
	}
	random := rand.New(rand.NewPCG(1, 2)) // the same each time
	one := func(of ...string) string { return of[random.IntN(len(of))] }
	found := 0
	for range 300 {
		var words string
		for range 1 + random.IntN(4) {
			words += one("", "", "-", "OR ")
			phrase := one("front", "door", "back", "person", "cat", "attic", "lawn")
			if random.IntN(4) == 0 {
				phrase = `"` + phrase + " " + one("door", "front", "cat") + `"`
			}
			words += phrase + " "
		}
		var want []int64
		require.NoError(t, db.SQL().SelectContext(t.Context(), &want, `
			SELECT e.id FROM events AS e JOIN cameras AS c ON c.id = e.camera_id
			WHERE (e.search_vector || to_tsvector('pg_catalog.english', c.name))
				@@ websearch_to_tsquery('pg_catalog.english', $1)`, words))
		matches, err := New(db).Search(t.Context(), words, EventFilter{}, 100, 0)
		require.NoError(t, err, words)
		var got []int64
		for _, match := range matches.Rows {
			got = append(got, match.ID)
		}
		require.ElementsMatch(t, want, got, words)
		found += len(got)
	}
	require.Greater(t, found, 500)
}
