package batch_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"hsi.home.arpa/pipeline/batch"
	"hsi.home.arpa/store"
)

const us = time.Microsecond

func TestRules(t *testing.T) {
	t.Parallel()
	usual := batch.Config{Window: 90 * time.Second, IdleTimeout: 30 * time.Second}
	base := time.Date(2026, 11, 23, 2, 59, 0, 0, time.UTC)
	at := base.Add
	tests := map[string]struct {
		// The batch: image times of its first and last image, and when they were added.
		opened, last, created, touched time.Duration
		now                            time.Duration
		image                          time.Duration // image time of the image that asks
		config                         batch.Config
		over, joins                    bool
	}{
		"fresh":                                   {now: time.Second, image: time.Second, joins: true},
		"same instant":                            {joins: true},
		"just before idle":                        {now: 30*time.Second - us, image: 30 * time.Second, joins: true},
		"exactly idle":                            {now: 30 * time.Second, image: 29 * time.Second, over: true},
		"after idle":                              {now: 31 * time.Second, image: 31 * time.Second, over: true},
		"kept alive by later images":              {last: 60 * time.Second, touched: 60 * time.Second, now: 89 * time.Second, image: 89 * time.Second, joins: true},
		"just before the window, by image time":   {last: 80 * time.Second, touched: 80 * time.Second, now: 85 * time.Second, image: 90*time.Second - us, joins: true},
		"exactly the window, by image time":       {last: 80 * time.Second, touched: 80 * time.Second, now: 85 * time.Second, image: 90 * time.Second},
		"just before the window, by the clock":    {last: 80 * time.Second, touched: 80 * time.Second, now: 90*time.Second - us, image: 80 * time.Second, joins: true},
		"exactly the window, by the clock":        {last: 80 * time.Second, touched: 80 * time.Second, now: 90 * time.Second, image: 80 * time.Second, over: true},
		"idle runs on the clock, not image time":  {last: 80 * time.Second, touched: 5 * time.Second, now: 10 * time.Second, image: 85 * time.Second, joins: true},
		"late bundle: image times long ago":       {opened: -time.Hour, last: -time.Hour, touched: time.Second, now: 2 * time.Second, image: -time.Hour + 40*time.Second, joins: true},
		"late bundle beyond the window":           {opened: -time.Hour, last: -time.Hour, touched: time.Second, now: 2 * time.Second, image: -time.Hour + 90*time.Second},
		"older than the batch, within the window": {opened: 10 * time.Second, last: 20 * time.Second, touched: 20 * time.Second, now: 21 * time.Second, image: -50 * time.Second, joins: true},
		"older than the batch, exactly a window":  {opened: 10 * time.Second, last: 20 * time.Second, touched: 20 * time.Second, now: 21 * time.Second, image: -70 * time.Second},
		"window made shorter meanwhile": {
			last: 20 * time.Second, touched: 20 * time.Second, now: 21 * time.Second, image: 21 * time.Second,
			config: batch.Config{Window: 10 * time.Second, IdleTimeout: 30 * time.Second}, over: true,
		},
		"window made longer meanwhile": {
			last: 80 * time.Second, touched: 80 * time.Second, now: 100 * time.Second, image: 100 * time.Second,
			config: batch.Config{Window: 200 * time.Second, IdleTimeout: 30 * time.Second}, joins: true,
		},
		"idle made shorter meanwhile": {
			now: 5 * time.Second, image: 5 * time.Second,
			config: batch.Config{Window: 90 * time.Second, IdleTimeout: 5 * time.Second}, over: true,
		},
		"idle longer than the window": {
			now: 10 * time.Second, image: 9 * time.Second,
			config: batch.Config{Window: 10 * time.Second, IdleTimeout: 60 * time.Second}, over: true,
		},
		"shortest of all": {
			now: time.Second - us, image: time.Second - us,
			config: batch.Config{Window: time.Second, IdleTimeout: time.Second}, joins: true,
		},
		"clock set forward an hour":          {now: time.Hour, image: time.Hour, over: true},
		"clock set back a little":            {now: -time.Minute, image: -time.Minute, joins: true},
		"clock set back to the tolerance":    {now: -5 * time.Minute, image: -5*time.Minute + 4*time.Minute, joins: true},
		"clock set back an hour":             {now: -time.Hour, image: -time.Hour, over: true},
		"clock set back, image time as ever": {now: -time.Hour, image: time.Second, over: true},
		"clock set back a day":               {now: -24 * time.Hour, image: -24 * time.Hour, over: true},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if test.config == (batch.Config{}) {
				test.config = usual
			}
			open := store.Batch{OpenedAt: at(test.opened), LastAt: at(test.last), CreatedAt: at(test.created), TouchedAt: at(test.touched), ReadAt: at(test.now)}
			require.Equal(t, test.over, batch.ShouldClose(open, test.config), "over")
			require.Equal(t, test.joins, batch.Joins(open, at(test.image), test.config), "joins")
			decision := batch.Decide(test.config)(open, at(test.image))
			require.Equal(t, test.joins, decision == store.JoinOpen)
		})
	}
}
