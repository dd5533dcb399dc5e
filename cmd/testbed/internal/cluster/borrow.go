// SPDX-License-Identifier: Apache-2.0

package cluster

// Borrow readies the keys by which boards are reached, and the fleet, whether or not any board answers yet.
func (c *Cluster) Borrow() error {
	if err := c.keys.borrow(c.Inventory); err != nil {
		return err
	}
	return c.Connect()
}
