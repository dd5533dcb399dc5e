// SPDX-License-Identifier: Apache-2.0
// Shows what /pools, /explain, /peers and /delegations say, anew every two seconds. Texts go in as text, never as markup.

const EVERY = 2000 // ms between questions
const KEPT = 90 // values of a member that its line shows
const svgNS = "http://www.w3.org/2000/svg"

const byId = (id) => document.getElementById(id)
const values = new Map() // "name address" → the values seen since the page was opened
let answered = null // when the server last answered

// el makes an element: el("td", {class: "in"}, "text", child…).
function el(tag, attributes = {}, ...children) {
  const e = document.createElement(tag)
  for (const [k, v] of Object.entries(attributes)) if (v !== undefined) e.setAttribute(k, v)
  e.append(...children.filter((c) => c !== undefined && c !== null))
  return e
}

function svg(tag, attributes, ...children) {
  const e = document.createElementNS(svgNS, tag)
  for (const [k, v] of Object.entries(attributes)) e.setAttribute(k, v)
  e.append(...children)
  return e
}

// number reads what the server gives for one: JSON has no infinity.
const number = (v) => (v === undefined || v === null ? NaN : Number(typeof v === "string" ? v.replace("Inf", "Infinity") : v))
const digits = (v) => (Number.isFinite(v) ? String(Number(v.toPrecision(4))) : Number.isNaN(v) ? "–" : v > 0 ? "∞" : "−∞")

function ago(time) {
  const s = Math.max(0, Math.round((Date.now() - new Date(time)) / 1000))
  if (s < 120) return `${s} s`
  if (s < 7200) return `${Math.round(s / 60)} min`
  if (s < 172800) return `${Math.round(s / 3600)} h`
  return `${Math.round(s / 86400)} d`
}

const clock = (time) => new Date(time).toISOString().slice(0, 19).replace("T", " ")

// chosen is the name behind the #, as it is where it is not escaped as it should be.
function chosen() {
  const name = location.hash.slice(1)
  try {
    return decodeURIComponent(name)
  } catch {
    return name
  }
}

async function get(path) {
  const response = await fetch(path, { cache: "no-store", signal: AbortSignal.timeout(10000) })
  if (response.status === 404) return null
  if (!response.ok) throw new Error(await response.text())
  return response.json()
}

function row(...cells) {
  return el("tr", {}, ...cells)
}

function table(caption, head, rows) {
  const titles = head.map(([text, kind]) => el("th", { scope: "col", class: kind }, text))
  return el("div", { class: "scroll", tabindex: "0", role: "group", "aria-label": caption }, el("table", {},
    el("caption", { class: "hidden" }, caption), el("thead", {}, row(...titles)), el("tbody", {}, ...rows)))
}

// showPools fills the list of names.
function showPools({ pools, total }) {
  byId("count").textContent = pools.length < total ? `${pools.length} of ${total} names` : total === 1 ? "1 name" : `${total} names`
  byId("pools").replaceChildren(...pools.map((p) => {
    const link = el("a", { href: "#" + encodeURIComponent(p.name), "aria-current": p.name === chosen() ? "true" : undefined }, p.name)
    const notes = []
    if (p.fail_open) notes.push("fail open")
    if (p.problems) notes.push(p.problems === 1 ? "1 problem" : `${p.problems} problems`)
    return row(
      el("td", {}, link, notes.length ? el("div", { class: "warn" }, notes.join(", ")) : null),
      el("td", { class: "number " + (p.in === 0 && p.records === 0 ? "out" : "") }, p.members === 0 && p.records > 0 ? `${p.records} ${p.records === 1 ? "record" : "records"}` : `${p.in} / ${p.ready}`),
      el("td", { class: "number" }, `${p.ttl_seconds} s`),
      el("td", { class: "nowrap dim" }, p.changed ? ago(p.changed) : "–"))
  }))
}

// line draws values one after another; those that are no finite number leave a gap at the height of the one before.
function line(list, label) {
  const finite = list.filter(Number.isFinite)
  if (finite.length < 2) return document.createTextNode("")
  const low = Math.min(...finite), span = Math.max(...finite) - low || 1
  let last = finite[0]
  const points = list.map((v, i) => {
    if (Number.isFinite(v)) last = v
    return `${(i / (list.length - 1)) * 120},${22 - ((last - low) / span) * 20}`
  })
  return svg("svg", { class: "spark", viewBox: "0 0 120 24", role: "img", "aria-label": `${label}: from ${digits(low)} to ${digits(low + span)} lately` },
    svg("polyline", { points: points.join(" ") }))
}

// steps draws how many members were in and ready over the history.
function steps(history) {
  if (history.length === 0) return document.createTextNode("")
  const begin = +new Date(history[0].at), end = Math.max(Date.now(), begin + 1000)
  const most = Math.max(1, ...history.map((e) => Math.max(e.in, e.ready)))
  const path = (key) => {
    const points = []
    history.forEach((e, i) => {
      const y = 44 - (e[key] / most) * 40
      const until = i + 1 < history.length ? +new Date(history[i + 1].at) : end
      for (const t of [+new Date(e.at), until]) points.push(`${((t - begin) / (end - begin)) * 600},${y}`)
    })
    return points.join(" ")
  }
  return svg("svg", { class: "steps", viewBox: "0 0 600 48", preserveAspectRatio: "none", role: "img",
    "aria-label": `members in the answer since ${clock(begin)}, ${history.at(-1).in} of ${history.at(-1).ready} now` },
  svg("polyline", { class: "ready", points: path("ready") }), svg("polyline", { points: path("in") }))
}

function share(weight) {
  const percent = Math.round(weight * 1000) / 10
  return el("span", {}, svg("svg", { class: "share", viewBox: "0 0 100 10", preserveAspectRatio: "none", "aria-hidden": "true" },
    svg("rect", { width: percent, height: 10 })), ` ${percent} %`)
}

const state = (s) => el("span", { class: s === "in" ? "in" : "out" }, s === "in" ? "● in" : s === "out" ? "○ out" : "gone")

function memberRow(x, m) {
  const key = x.name + " " + m.address, value = number(m.value), limit = number(m.limit)
  const seen = values.get(key) ?? []
  seen.push(value)
  values.set(key, seen.slice(-KEPT))
  const judged = m.rule && m.signal && m.rule !== m.signal ? `${m.rule} (${m.signal})` : m.rule || m.signal || "–"
  return row(
    el("th", { scope: "row" }, m.pod || "–", el("div", { class: "dim" }, m.address), m.node ? el("div", { class: "dim" }, m.node) : null, m.cluster ? el("div", { class: "dim" }, `cluster ${m.cluster}`) : null, m.group ? el("div", { class: "dim" }, `of ${m.group}`) : null),
    el("td", { class: "nowrap" }, state(m.state)),
    el("td", {}, m.reason),
    el("td", {}, judged),
    el("td", { class: "number" }, digits(value), Number.isNaN(limit) ? null : el("div", { class: "dim" }, `limit ${digits(limit)}`)),
    el("td", {}, line(values.get(key), m.pod || m.address)),
    el("td", { class: "nowrap" }, m.state === "in" && m.weight ? share(m.weight) : "–"),
    el("td", { class: "nowrap" }, ago(m.since)))
}

function signalRow(s) {
  const age = number(s.age_seconds)
  return row(
    el("th", { scope: "row" }, s.name || "(its only one)"), el("td", {}, s.kind),
    el("td", {}, s.query ? el("code", {}, s.query.trim()) : "–", s.error ? el("div", { class: "warn" }, s.error) : null),
    el("td", { class: "number" }, `${s.interval_seconds} s`),
    el("td", { class: "number" }, Number.isNaN(age) ? "none yet" : `${digits(age)} s`))
}

// whom is whom an option of records is for.
const whom = (geo) => (geo === "*" ? "others" : geo || "all")

function optionRow(s, o) {
  const data = o.records.map((r) => el("li", {}, el("code", {}, r)))
  return row(
    el("th", { scope: "row" }, s.type), el("td", { class: "number" }, `${s.ttl_seconds} s`), el("td", {}, whom(o.geo)), el("td", {}, o.set || "–"),
    el("td", { class: "nowrap" }, share(o.share)), el("td", {}, el("ul", { class: "plain" }, ...data)))
}

function followRow(f) {
  return row(
    el("th", { scope: "row" }, f.name, f.error ? el("div", { class: "warn" }, f.error) : null), el("td", {}, f.addresses.join(", ") || "–"),
    el("td", { class: "nowrap" }, f.age_seconds === undefined ? "never" : `${ago(Date.now() - 1000 * f.age_seconds)} ago`))
}

function groupRow(g) {
  return row(
    el("th", { scope: "row" }, g.name || "–"), el("td", { class: "number" }, String(g.weight)), el("td", { class: "number" }, String(g.in)),
    el("td", { class: "nowrap" }, share(g.share)))
}

function change(c) {
  const what = [c.reason, c.rule, Number.isNaN(number(c.value)) ? "" : digits(number(c.value))].filter(Boolean).join(" ")
  return el("li", {}, `${c.cluster ? c.cluster + " " : ""}${c.pod || c.address}: ${c.was} → `, state(c.state), what ? ` ${what}` : null)
}

function eventRow(e) {
  return row(
    el("td", { class: "nowrap" }, el("time", { datetime: e.at }, clock(e.at))), el("td", {}, e.trigger),
    el("td", { class: "number" }, `${e.in} / ${e.ready}`),
    el("td", { class: "nowrap" }, `${digits(e.ttl_seconds)} s`, el("div", { class: "dim" }, e.ttl_rule)),
    el("td", {}, el("ul", { class: "plain" }, ...(e.changes ?? []).map(change), e.more ? el("li", {}, `and ${e.more} more`) : null),
      e.fail_open ? el("div", { class: "warn" }, "fail open") : null))
}

function peerRow(p) {
  const trouble = (p.servers ?? []).filter((s) => s.error).map((s) => el("div", { class: "warn" }, `${s.address}: ${s.error}`))
  const refused = (p.refused_hosts ?? []).concat(p.refused_hosts_more ? [`and ${p.refused_hosts_more} more`] : [])
  return row(
    el("th", { scope: "row" }, p.name, p.identity ? el("div", { class: "dim" }, p.identity) : null),
    el("td", { class: "nowrap" }, el("span", { class: p.up ? "in" : "out" }, p.up ? "● up" : "○ down"), el("div", { class: "dim" }, `for ${ago(p.since)}`)),
    el("td", { class: "nowrap" }, p.last_heard ? `${ago(p.last_heard)} ago` : "never"),
    el("td", { class: "number" }, `${p.hosts} / ${p.members}`),
    el("td", {}, p.why || null, ...(p.why ? [] : trouble), refused.length ? el("div", { class: "warn" }, `not granted: ${refused.join(", ")}`) : null))
}

// peersOf tells of the clusters that exchange their pools with this one; nothing where there are none.
function peersOf(x) {
  if (!x?.peers?.length) return []
  const denied = (x.denied ?? []).map((d) => el("li", { class: "warn" }, `${d.from} was refused the zone ${x.zone} ${d.count} times, ${ago(d.last)} ago: ${d.why}${d.key ? `, key ${d.key}` : ""}`))
  return [
    el("h3", {}, "Other clusters"),
    el("p", { class: "dim" }, `This is cluster ${x.cluster}; members of another count for ${x.lease_seconds} s after it confirmed them.`),
    table("Clusters that exchange their pools with this one", [["Cluster"], ["State"], ["Heard"], ["Hosts / members", "number"], ["Trouble"]], x.peers.map(peerRow)),
    ...(denied.length ? [el("ul", {}, ...denied)] : []),
  ]
}

const MOST = 200 // lines of a table of name servers

function serverRow(s) {
  const alone = s.last ? el("div", { class: "warn" }, `its lease has ended; ${s.last} ${s.last === 1 ? "child has" : "children have"} nobody else`) : null
  return row(
    el("th", { scope: "row" }, s.nameserver, el("div", { class: "dim" }, (s.addresses ?? []).join(", ") || "addresses are elsewhere")),
    el("td", {}, s.zone), el("td", { class: "number" }, s.children), el("td", {}, s.key),
    el("td", { class: "nowrap" }, `${Math.round(s.left_seconds)} s`, alone), el("td", { class: "nowrap dim" }, ago(s.since)))
}

function upperRow(u) {
  return row(
    el("th", { scope: "row" }, u.upper), el("td", {}, u.zone), el("td", {}, u.nameserver || "only compared"), el("td", { class: "number" }, u.zones),
    el("td", { class: "nowrap" }, u.renewed ? `${ago(u.renewed)} ago` : u.nameserver ? "never" : "–"), el("td", { class: u.trouble ? "warn" : undefined }, u.trouble || "–"))
}

// delegationsOf tells of leaves that have registered here, and of the uppers of our zones; nothing where there are none.
function delegationsOf(x) {
  const parts = [], servers = x?.nameservers ?? []
  if (x?.uppers?.length) {
    parts.push(el("h3", {}, "Uppers"), table("Servers above, which refer to our zones", [["Upper"], ["Its zone"], ["Registered as"], ["Zones", "number"], ["Renewed"], ["Trouble"]], x.uppers.map(upperRow)))
  }
  if (servers.length) {
    parts.push(el("h3", {}, "Leaves"),
      table("Name servers that have registered here", [["Name server"], ["Zone"], ["Children", "number"], ["Key"], ["Lease ends in"], ["For"]], servers.slice(0, MOST).map(serverRow)),
      servers.length > MOST ? el("p", { class: "dim" }, `and ${servers.length - MOST} more`) : "",
      x.left ? el("p", { class: "dim" }, `Caches may still hold ${x.left} that ${x.left === 1 ? "has" : "have"} left.`) : "")
  }
  if (x?.refusals?.length) {
    parts.push(el("h3", {}, "Registrations that were refused"), el("ul", {}, ...x.refusals.map((r) => el("li", { class: "warn" },
      `${r.from}${r.key ? ` with key ${r.key}` : ""}, ${r.count} times, ${ago(r.last)} ago: ${r.why}`))))
  }
  if (x?.troubled?.length) {
    parts.push(el("h3", {}, "Parents and children that disagree"), el("ul", {}, ...x.troubled.map((c) => el("li", { class: "warn" }, `${c.child}, by ${c.object}: ${c.problems.join("; ")}`))))
  }
  return parts
}

// showPool fills the explanation of one name.
function showPool(name, x, others) {
  const to = byId("pool"), title = el("h2", { id: "pool-title" }, name || "Choose a name")
  document.title = name ? `${name} – dnsingress` : "dnsingress"
  if (!x) {
    to.replaceChildren(title, el("p", {}, name ? "No object has this name now." : "Each name is answered with the pods that are in. This page shows which these are, why, and what changed; it changes nothing itself."), ...others)
    return
  }
  const kept = new Set(x.members.map((m) => x.name + " " + m.address))
  for (const key of values.keys()) if (!kept.has(key)) values.delete(key)
  const inside = x.members.filter((m) => m.state === "in").length
  const alone = x.members.length === 0 && x.records?.length // it has nothing but records
  const facts = [
    ["Object", x.object], ["Zone", `${x.zone} serial ${x.serial}`],
    ...(x.rivals?.length ? [["Claimed as well by", x.rivals.join(", ")]] : []),
    ...(x.for ? [["Made for", `the ports of ${x.for}`]] : []),
    ...(alone ? [] : [
      ["Answered with", `${inside} of ${x.members.length} members; ${x.selection}, ${x.max_answers > 0 ? `at most ${x.max_answers} in an answer` : "all in an answer"}`],
      ...(x.merge ? [["Clusters merged by", x.merge]] : []),
      ["TTL", `${x.ttl_seconds} s, set by ${x.ttl_rule || "pool"}; ${x.negative_ttl_seconds} s when nobody is in`],
    ]),
  ]
  const parts = [title, el("dl", {}, ...facts.flatMap(([k, v]) => [el("dt", {}, k), el("dd", {}, v)]))]
  if (x.fail_open) parts.push(el("p", { class: "warn" }, "Too few members satisfy the policy: all ready ones are in."))
  for (const p of x.peers ?? []) if (!p.up) parts.push(el("p", { class: "warn" }, `Cluster ${p.name} is down for ${ago(p.since)}: ${p.why}.`))
  if (x.problems?.length) parts.push(el("h3", {}, "Problems"), el("ul", {}, ...x.problems.map((p) => el("li", { class: "warn" }, p))))
  if (x.last_resort) parts.push(el("p", { class: "warn" }, "Nobody is ready: the last resort is who serves while terminating."))
  if (x.groups?.length) {
    parts.push(el("h3", {}, "Groups"), table("Groups of members, each with its share of the answers", [["Group"], ["Weight", "number"], ["In", "number"], ["Share"]], x.groups.map(groupRow)))
  }
  if (x.records?.length) {
    parts.push(el("h3", {}, "Records"), table("Records beside the members' addresses", [["Type"], ["TTL", "number"], ["For"], ["Option"], ["Share"], ["Data"]],
      x.records.flatMap((s) => s.options.map((o) => optionRow(s, o)))))
  }
  if (x.follows?.length) {
    parts.push(el("h3", {}, "Host names outside"), table("Host names whose addresses are among the records", [["Name"], ["Addresses"], ["Confirmed"]], x.follows.map(followRow)))
  }
  if (!alone) parts.push(el("h3", {}, "Members"), table("Members of the pool", [["Pod"], ["State"], ["Reason"], ["Rule"], ["Value", "number"], ["Since opened"], ["Share"], ["For"]],
    x.members.map((m) => memberRow(x, m))))
  if (x.policy?.signals?.length) {
    parts.push(el("h3", {}, "Signals"), table("Signals of the policy", [["Signal"], ["Kind"], ["Query"], ["Every", "number"], ["Age", "number"]], x.policy.signals.map(signalRow)))
  }
  if (x.policy?.rules?.length) {
    parts.push(el("h3", {}, "Rules"), table("Rules of the policy", [["Rule"], ["Signal"], ["Says"], ["Limit now", "number"]], x.policy.rules.map((r) => row(
      el("th", { scope: "row" }, r.name || r.signal || "–"), el("td", {}, r.signal || "–"), el("td", {}, el("code", {}, r.says)), el("td", { class: "number" }, digits(number(r.limit)))))))
  }
  const history = x.history ?? []
  parts.push(el("h3", {}, "History"))
  if (history.length) {
    parts.push(steps(history), el("p", { class: "dim" }, "Members in the answer (line) and ready (dashes), by what is remembered."),
      table("Last decisions that changed something, the newest first", [["UTC"], ["Because of"], ["In / ready", "number"], ["TTL"], ["Changes"]], history.toReversed().map(eventRow)))
  } else parts.push(el("p", { class: "dim" }, "Nothing has changed."))
  const same = to.dataset.name === name, boxes = () => [...to.querySelectorAll(".scroll")]
  const places = boxes().map((b) => b.scrollLeft), focused = boxes().indexOf(document.activeElement)
  to.replaceChildren(...parts)
  to.dataset.name = name
  if (!same) return
  boxes().forEach((b, i) => { b.scrollLeft = places[i] ?? 0 })
  if (focused >= 0) boxes()[focused]?.focus({ preventScroll: true })
}

function pulse(error) {
  const p = byId("pulse")
  p.className = error ? "lost" : ""
  const text = error ? `no answer${answered ? ` since ${clock(answered)} UTC` : ""}; trying again` : "live"
  if (p.textContent !== text) p.textContent = text // or it would be read out each time
}

let turn = 0

// ask shows the newest state. Of two at a time, the later one counts.
async function ask() {
  const mine = ++turn, name = chosen()
  try {
    const [list, x, peers, delegations] = await Promise.all([
      get("pools?" + new URLSearchParams({ match: byId("match").value })),
      name ? get("explain?" + new URLSearchParams({ name })) : null,
      name ? null : get("peers"),
      name ? null : get("delegations"),
    ])
    if (mine !== turn) return
    answered = Date.now()
    const focused = document.activeElement?.closest?.("#pools a")?.getAttribute("href")
    showPools(list)
    if (focused) document.querySelector(`#pools a[href="${CSS.escape(focused)}"]`)?.focus()
    if (getSelection().isCollapsed || byId("pool").dataset.name !== name) showPool(name, x, [...peersOf(peers), ...delegationsOf(delegations)]) // who selects text wants to read it
    pulse(null)
  } catch (error) {
    if (mine === turn) pulse(error)
  }
}

async function follow() {
  try {
    if (!document.hidden) await ask()
  } finally {
    setTimeout(follow, EVERY)
  }
}

addEventListener("hashchange", ask)
addEventListener("visibilitychange", () => document.hidden || ask())
byId("match").addEventListener("input", ask)
follow()
