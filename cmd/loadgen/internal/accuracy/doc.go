// SPDX-License-Identifier: Apache-2.0

// Package accuracy judges answers of DNS servers against the truth, and measures how long a change takes to reach them.
//
// The truth is a history: for each name the versions of its data, and for each version two instants between which it became
// true: when whoever made the change began (begun), and when he was told that it is done (done). It is known because this
// process makes the changes itself (Maker), or because somebody tells of them (events).
//
// An answer to a query that was sent at s and came at r is held against every version that may have been true between s and
// r, that is, those begun before r whose successor was not done before s:
//
//	right    the data of one of them
//	stale    the data of an earlier version
//	missing  nothing where there is data: no reply, an error, NXDOMAIN or no record, unless nothing was the former truth and
//	         the server has not shown a later one
//	wrong    anything else; mixed when it is made of the data of several versions
//
// For each change and server two delays are counted from begun: to the coming of the first right answer, and to the coming
// of the last one that was not right. Both are known as exactly as the server is asked for the name often: an error of each
// is at most the time between the sending of one query for it and the coming of the answer to the next (resolution).
package accuracy
