// SPDX-License-Identifier: Apache-2.0

package lang

// What the language will have and does not have yet. It is refused by name: a knob that is read and ignored is worse than
// one that is missing.

const comesLater = "is part of the language's design, but does not work in this version"

// laterBlocks are blocks at the top.
var laterBlocks = map[string]string{
	"redirect": comesLater,
}

// laterAttributes are attributes and inner blocks, by the block that they stand in.
var laterAttributes = map[string]map[string]string{
	"link": {
		"health": comesLater, "snat": comesLater, "weight": comesLater, "metered": comesLater, "mss_clamp": comesLater,
		"flowtable": comesLater, "on_change": comesLater,
	},
	"group":  {"flows": comesLater, "flowtable": comesLater},
	"member": {"tier": comesLater},
	"rule": {
		"flows": comesLater, "user": comesLater, "cgroup": comesLater, "mac": comesLater, "hours": comesLater, "days": comesLater,
		"domain": comesLater, "not_from": comesLater, "not_to": comesLater,
	},
	"forward": {"hairpin": comesLater, "from": comesLater, "links": comesLater},
	"set":     {"file": comesLater},
}

// laterValues are values of an attribute, by block and attribute.
var laterValues = map[string]string{
	"source":             comesLater,
	"source+destination": comesLater,
}
