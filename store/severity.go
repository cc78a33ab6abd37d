package store

import (
	"errors"
	"fmt"
)

// Severity names how much a risk score matters.
type Severity string

// The four levels in rising order.
const (
	SeverityLow      Severity = "low"
	SeverityMedium   Severity = "medium"
	SeverityHigh     Severity = "high"
	SeverityCritical Severity = "critical"
)

// Bounds of a risk score.
const (
	MinRiskScore = 0
	MaxRiskScore = 100
)

// SeverityThresholds are the highest risk scores of the three levels below critical. Everything
// above HighMax is critical.
type SeverityThresholds struct {
	LowMax, MediumMax, HighMax int
}

// DefaultSeverityThresholds returns 29, 59 and 84.
func DefaultSeverityThresholds() SeverityThresholds {
	return SeverityThresholds{LowMax: 29, MediumMax: 59, HighMax: 84}
}

// Validate reports everything that is wrong with the thresholds at once. They must rise and leave
// at least one score to each level.
func (t SeverityThresholds) Validate() error {
	var problems []error
	if t.LowMax < MinRiskScore {
		problems = append(problems, fmt.Errorf("SEVERITY_LOW_MAX is %d, must be at least %d", t.LowMax, MinRiskScore))
	}
	if t.MediumMax <= t.LowMax {
		problems = append(problems, fmt.Errorf("SEVERITY_MEDIUM_MAX is %d, must be above SEVERITY_LOW_MAX (%d)", t.MediumMax, t.LowMax))
	}
	if t.HighMax <= t.MediumMax {
		problems = append(problems, fmt.Errorf("SEVERITY_HIGH_MAX is %d, must be above SEVERITY_MEDIUM_MAX (%d)", t.HighMax, t.MediumMax))
	}
	if t.HighMax >= MaxRiskScore {
		problems = append(problems, fmt.Errorf("SEVERITY_HIGH_MAX is %d, must be below %d", t.HighMax, MaxRiskScore))
	}
	return errors.Join(problems...)
}

// Level returns the severity of a risk score. A score out of 0..100 gets the level at that end.
func (t SeverityThresholds) Level(score int) Severity {
	switch {
	case score <= t.LowMax:
		return SeverityLow
	case score <= t.MediumMax:
		return SeverityMedium
	case score <= t.HighMax:
		return SeverityHigh
	default:
		return SeverityCritical
	}
}

// SeverityDefinition describes one level to people and programs.
type SeverityDefinition struct {
	Severity    Severity
	Label       string
	Description string
	// Color is written #rrggbb.
	Color string
	// Priority sorts levels; 0 is the most urgent.
	Priority int
	// MinScore and MaxScore are both part of the level.
	MinScore, MaxScore int
}

// Definitions describes the four levels in rising order. The ranges cover 0..100 without a gap or
// overlap.
func (t SeverityThresholds) Definitions() []SeverityDefinition {
	return []SeverityDefinition{
		{SeverityLow, "Low", "Routine activity, no concern", "#22c55e", 3, MinRiskScore, t.LowMax},
		{SeverityMedium, "Medium", "Notable activity, worth reviewing", "#eab308", 2, t.LowMax + 1, t.MediumMax},
		{SeverityHigh, "High", "Concerning activity, review soon", "#f97316", 1, t.MediumMax + 1, t.HighMax},
		{SeverityCritical, "Critical", "Immediate attention required", "#ef4444", 0, t.HighMax + 1, MaxRiskScore},
	}
}
