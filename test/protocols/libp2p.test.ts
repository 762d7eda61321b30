/** libp2p over TCP, held to what every network promises. */
import { networkConformance } from '../conformance/network.ts'
import { createSwarm } from './libp2p-fixture.ts'

networkConformance('libp2p', createSwarm)
