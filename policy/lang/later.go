// SPDX-License-Identifier: Apache-2.0

package lang

// What the language will have and does not have yet. It is refused by name: a knob that is read and ignored is worse than
// one that is missing.

const comesLater = "is part of the language's design, but does not work in this version"

// laterAttributes are attributes and inner blocks, by the block that they stand in.
var laterAttributes = map[string]map[string]string{
	"link": {
		"weight": comesLater, "metered": comesLater,
	},
	"rule": {
		"cgroup": comesLater, "hours": comesLater, "days": comesLater, "domain": comesLater,
	},
}
