/** The tests of all networks, for libp2p over TCP. */
import { networkConformance } from '../conformance/network.ts'
import { createSwarm } from './libp2p-fixture.ts'

networkConformance('libp2p', createSwarm)
