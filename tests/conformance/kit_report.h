/* SPDX-License-Identifier: Apache-2.0
 *
 * kit: the pipe from a test to the program that started it.
 */
#ifndef TESTS_KIT_REPORT_H
#define TESTS_KIT_REPORT_H
#define REPORT_MAX 8u /* findings of one test that are told */
void report_open(int fd);
#endif
