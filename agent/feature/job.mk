# SPDX-License-Identifier: Apache-2.0
agent_libagent_a_SOURCES += %D%/job.h %D%/job.c %D%/job_file.h %D%/job_file.c %D%/job_service.h %D%/job_priv.h \
	%D%/job_service.c %D%/job_request.c %D%/job_read.c %D%/job_metric.c %D%/job_command.c
