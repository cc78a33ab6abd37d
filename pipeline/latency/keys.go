package latency

import (
	"strconv"
	"strings"
	"time"
)

// Keys in Redis. All of them are built here.
//
//	hsi:latency:<minute>   hash, expires 25 h after the end of the minute
//	                       <minute> = Unix time / 60
//	                       field <stage>:<writer> = everything that this writer measured in this stage and minute (see encode)
//
// A writer is one run of one process. It always writes the whole of its own field, so a write can
// be repeated without counting anything twice, and writers need no lock among them: the figure of a
// minute is the sum of its fields.
const (
	keyPrefix = "hsi:latency:"
	keptFor   = 25 * time.Hour
)

func minuteKey(minute int64) string {
	return keyPrefix + strconv.FormatInt(minute, 10)
}

// minuteExpiry is the Unix time at which the key of a minute goes.
func minuteExpiry(minute int64) int64 {
	return (minute+1)*60 + int64(keptFor/time.Second)
}

func fieldName(stage Stage, writer string) string {
	return stage.String() + ":" + writer
}

// parseField is the reverse of fieldName. It is false for a field of a stage that this version does
// not know.
func parseField(field string) (stage Stage, writer string, ok bool) {
	name, writer, found := strings.Cut(field, ":")
	if !found {
		return 0, "", false
	}
	stage, ok = stageNamed(name)
	return stage, writer, ok
}
